//! Any order of new, repeated, late and block messages, against what must hold for every one of them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::guard::{Header, Kind};
use crate::wire::{Asked, Head, encode_request};
use crate::{Request, Token};

struct Nobody;

impl Host for Nobody {
    fn door(&self) -> Option<Response> {
        None
    }

    async fn handle(&self, burst: Vec<Request>) -> Vec<Response> {
        unreachable!("the test answers {} requests itself", burst.len())
    }

    fn dropped(&self, _: Dropped) {}
}

#[derive(Debug, Clone)]
enum Event {
    /// A request with this id; odd ids are NON, ids from 8 on carry a Block1 option.
    Arrives {
        id: u16,
        number: u32,
        more: bool,
    },
    /// The host answers its oldest request.
    Answered,
    Passes(Duration),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0_u16..16, 0_u32..3, any::<bool>())
            .prop_map(|(id, number, more)| Event::Arrives { id, number, more }),
        3 => Just(Event::Answered),
        1 => (0_u64..4_000).prop_map(|ms| Event::Passes(Duration::from_millis(ms))),
    ]
}

/// The same id always means the same bytes, as for a device that retransmits.
fn datagram(id: u16, sent: &mut HashMap<u16, Bytes>, number: u32, more: bool) -> Bytes {
    let kind = if id % 2 == 1 { Kind::NonConfirmable } else { Kind::Confirmable };
    let block1 = (id >= 8).then(|| Block::largest(number).with_more(more));
    let payload = vec![7; if block1.is_some() && more { 1_024 } else { 10 }];
    let asked = Asked { path: "a", block1, payload: &payload, ..Asked::default() };
    let head = Head { kind, message_id: id, token: Token::new(&id.to_be_bytes()).unwrap() };
    sent.entry(id).or_insert_with(|| encode_request(head, Method::Post, &asked)).clone()
}

proptest! {
    #[test]
    fn every_request_has_one_outcome(events in proptest::collection::vec(event(), 1..80)) {
        let peer = ([127, 0, 0, 1], 4_000).into();
        let mut intake = Intake::new(Settings::default(), Arc::new(Nobody));
        let mut now = Instant::now();
        let (mut sent, mut handed, mut answers) = (HashMap::new(), HashSet::new(), HashMap::new());
        let mut waiting: Vec<Ticket> = Vec::new();
        for event in events {
            match event {
                Event::Arrives { id, number, more } => {
                    intake.take(now, peer, &datagram(id, &mut sent, number, more));
                    let (requests, tickets) = intake.take_burst();
                    prop_assert!(requests.iter().all(|request| handed.insert(request.message_id)), "twice");
                    waiting.extend(tickets);
                }
                Event::Answered if waiting.is_empty() => {}
                Event::Answered => {
                    let ticket = waiting.remove(0);
                    intake.answer(now, &ticket, &Response::new(Code::CHANGED));
                    prop_assert!(!intake.outbox.is_empty(), "an answer is sent at once");
                }
                Event::Passes(time) => {
                    now += time;
                    intake.poll(now);
                    intake.expire(now);
                }
            }
            for Outgoing { datagram, .. } in intake.outbox.drain(..) {
                let header = Header::read(&datagram).expect("what is sent is CoAP");
                if header.code != 0 {
                    let id = u16::from_be_bytes([datagram[4], datagram[5]]);
                    let first = answers.entry(id).or_insert_with(|| datagram.clone());
                    prop_assert_eq!(&*first, &datagram, "each repetition is byte by byte the first");
                    let open = waiting.iter().any(|ticket| ticket.key.message_id == id);
                    prop_assert!(!open, "no answer before the host's");
                }
            }
        }
        let settled = answers.len() + waiting.len();
        prop_assert_eq!(settled, sent.len(), "every request is answered or with the host");
    }
}
