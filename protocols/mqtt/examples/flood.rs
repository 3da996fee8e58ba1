//! A flood of QoS 1 publishes, for measuring a broker or a gateway: `flood ADDR CONNECTIONS SENSORS MESSAGES [RATE]`.
//!
//! Every connection sends its share as fast as acknowledgements allow (window 256), or one message at a time so that
//! all together send RATE a second: 180 bytes of JSON each, to `load/sN/telemetry`, with event times that go on by three seconds per round over the sensors. Prints one JSON
//! line: messages acknowledged, seconds, rate, and the flood's own CPU time per message. Bounded by MESSAGES.

use std::error::Error;
use std::time::{Duration, Instant};

use mqtt::client::{Client, Options, PacketIds, Publish};
use tokio::net::TcpStream;
use tokio_util::task::TaskTracker;

/// Messages encoded and written together.
const BATCH: usize = 256;
/// Event time of the first round: 2026-01-01T00:00:00Z.
const START_MS: u64 = 1_767_225_600_000;

type Failure = Box<dyn Error + Send + Sync>;

#[derive(Clone)]
struct Plan {
    addr: String,
    connections: usize,
    sensors: usize,
    messages: usize,
    /// From one message of a connection to its next; `None`: as fast as can be.
    pause: Option<Duration>,
}

fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let ([addr, connections, sensors, messages] | [addr, connections, sensors, messages, _]) =
        words.as_slice()
    else {
        return Err("usage: flood ADDR CONNECTIONS SENSORS MESSAGES [RATE]".into());
    };
    let connections = connections.parse()?;
    let rate = words.get(4).map(|rate| rate.parse::<f64>()).transpose()?;
    let plan = Plan {
        addr: addr.clone(),
        connections,
        sensors: sensors.parse()?,
        messages: messages.parse()?,
        pause: rate.map(|rate| Duration::from_secs_f64(connections as f64 / rate)),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let started = Instant::now();
    let acked = runtime.block_on(run(&plan))?;
    let seconds = started.elapsed().as_secs_f64();
    let cpu_us = cpu_seconds()? * 1e6 / acked as f64;
    let rate = acked as f64 / seconds;
    println!(r#"{{"acked":{acked},"seconds":{seconds:.3},"rate":{rate:.0},"flood_cpu_us":{cpu_us:.2}}}"#);
    Ok(())
}

async fn run(plan: &Plan) -> Result<usize, Failure> {
    let tracker = TaskTracker::new();
    let tasks: Vec<_> = (0..plan.connections).map(|at| tracker.spawn(publish(plan.clone(), at))).collect();
    let mut acked = 0;
    for task in tasks {
        acked += task.await??;
    }
    Ok(acked)
}

/// Connection `at` sends messages `at`, `at + connections`, …: with `sensors` a multiple of `connections`, a
/// sensor's messages go over one connection, in order.
async fn publish(plan: Plan, at: usize) -> Result<usize, Failure> {
    let stream = TcpStream::connect(&plan.addr).await?;
    stream.set_nodelay(true)?;
    let mut client = Client::connect(stream, &Options::new(format!("flood-{at}"))).await?;
    let mut ids = PacketIds::default();
    let mut numbers = (at..plan.messages).step_by(plan.connections).peekable();
    let (mut acks, mut acked) = (Vec::new(), 0);
    let batch_max = if plan.pause.is_some() { 1 } else { BATCH };
    // Connections take turns.
    let turn = plan.pause.unwrap_or_default().mul_f64(at as f64 / plan.connections as f64);
    let mut due = tokio::time::Instant::now() + turn;
    while numbers.peek().is_some() {
        if let Some(pause) = plan.pause {
            tokio::time::sleep_until(due).await;
            due += pause;
        }
        let messages: Vec<_> =
            numbers.by_ref().take(batch_max).map(|number| message(&plan, number)).collect();
        let batch: Vec<_> = messages
            .iter()
            .map(|(topic, payload)| {
                let id = ids.next().expect("packet ids go round");
                Publish::at_least_once(topic, payload.as_bytes(), id)
            })
            .collect();
        acks.clear();
        client.publish_batch(&batch, &mut acks).await?;
        acked += acks.iter().filter(|ack| ack.is_success()).count();
    }
    client.disconnect().await?;
    Ok(acked)
}

fn message(plan: &Plan, number: usize) -> (String, String) {
    let (sensor, round) = (number % plan.sensors, number / plan.sensors);
    let time = START_MS + round as u64 * 3000;
    let value = 20.0 + (number % 97) as f64 / 10.0;
    let payload = format!(
        r#"{{"ts":{time},"seq":{number},"speed_kmh":{value:.1},"limit_kmh":50,"lat":48.889619,"lon":2.298918,"fuel_pct":75.28,"rpm":1904,"engine_temp_c":88.5,"state":"moving","ok":true}}"#
    );
    (format!("load/s{sensor}/telemetry"), payload)
}

/// User and system time of this process, from /proc.
fn cpu_seconds() -> Result<f64, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks =
        |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).ok_or("no CPU time in /proc");
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}
