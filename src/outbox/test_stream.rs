//! A stream and a cursor store in memory, for the tests of outboxes, deliveries and sinks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::{CursorError, Cursors, Records, Stream, StreamError};
use crate::model::{
    AlertRow, AlertState, Offset, Output, ResultId, ResultRow, Severity, StreamName, Timestamp, Value,
};

/// The writing end of a `results` stream; clones share it.
#[derive(Clone)]
pub struct TestLog {
    outputs: watch::Sender<Vec<(Timestamp, Output)>>,
}

impl Default for TestLog {
    fn default() -> Self {
        Self { outputs: watch::Sender::new(Vec::new()) }
    }
}

impl TestLog {
    /// Appends outputs as of `written_ms`.
    pub fn append(&self, written_ms: i64, outputs: impl IntoIterator<Item = Output>) {
        let written = Timestamp::from_millis(written_ms);
        self.outputs.send_modify(|log| log.extend(outputs.into_iter().map(|output| (written, output))));
    }

    /// A reader at the start.
    pub fn reader(&self) -> Box<dyn Stream> {
        Box::new(TestStream { log: self.outputs.subscribe(), position: 0 })
    }
}

struct TestStream {
    log: watch::Receiver<Vec<(Timestamp, Output)>>,
    position: usize,
}

/// Small, so that leases join and split records.
const RECORDS_MAX: usize = 3;

impl Stream for TestStream {
    fn name(&self) -> StreamName {
        StreamName::Results
    }

    fn earliest(&self) -> Offset {
        Offset(0)
    }

    fn tail(&self) -> Offset {
        Offset(self.log.borrow().len() as u64)
    }

    fn seek(&mut self, to: Offset) {
        self.position = usize::try_from(to.0).unwrap();
    }

    fn next(&mut self) -> BoxFuture<'_, Result<Records, StreamError>> {
        async {
            let from = self.position;
            let log = self.log.wait_for(|log| log.len() > from).await.unwrap();
            let written = log[from].0;
            let same = log[from..].iter().take(RECORDS_MAX).take_while(|(at, _)| *at == written);
            let outputs: Arc<[_]> = same.map(|(_, output)| output.clone()).collect();
            self.position += outputs.len();
            let (base, end) = (Offset(from as u64), Offset(self.position as u64));
            Ok(Records::Outputs { base, end, written, outputs })
        }
        .boxed()
    }
}

/// Cursors in memory that can be told to fail.
#[derive(Default)]
pub struct TestCursors {
    states: Mutex<HashMap<String, Vec<u8>>>,
    /// Saves to come that fail.
    pub failures: Mutex<usize>,
    /// Saves so far.
    pub saves: Mutex<usize>,
}

impl Cursors for TestCursors {
    fn load(&self, sink: &str) -> Result<Option<Vec<u8>>, CursorError> {
        Ok(self.states.lock().unwrap().get(sink).cloned())
    }

    fn save<'a>(&'a self, sink: &'a str, state: Vec<u8>) -> BoxFuture<'a, Result<(), CursorError>> {
        async move {
            *self.saves.lock().unwrap() += 1;
            let mut failures = self.failures.lock().unwrap();
            if *failures > 0 {
                *failures -= 1;
                return Err(CursorError { sink: sink.into(), reason: "told to fail".into() });
            }
            self.states.lock().unwrap().insert(sink.to_owned(), state);
            Ok(())
        }
        .boxed()
    }
}

/// A result row of pipeline `p` for `key` whose value `n` is `n`.
pub fn result(key: &str, n: u32) -> Output {
    Output::Result(ResultRow {
        id: ResultId::EMPTY.with_text(key).with_number(n.into()),
        pipeline: "p".into(),
        key: key.into(),
        start: Timestamp::from_millis(1_000),
        end: Timestamp::from_millis(2_000),
        revision: 0,
        sequence: None,
        partial: false,
        tags: Default::default(),
        values: [("n".into(), Value::Number(n.into()))].into(),
    })
}

/// An alert row of an episode.
pub fn alert(episode: &str, state: AlertState) -> Output {
    let episode_id = ResultId::EMPTY.with_text(episode);
    Output::Alert(AlertRow {
        id: episode_id.with_text(state.as_str()),
        alert: "hot".into(),
        key: episode.into(),
        state,
        severity: Severity::Critical,
        time: Timestamp::from_millis(1_500),
        reason: None,
        summary: format!("{episode} is {}", state.as_str()),
        values: Default::default(),
        tags: Default::default(),
        episode: episode_id,
        offsets: [0, 1],
    })
}
