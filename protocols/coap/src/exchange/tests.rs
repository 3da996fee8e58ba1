//! The message layer by virtual time.

use std::time::Duration;

use super::*;
use crate::Code;
use crate::guard::Header;

const CON: Reliability = Reliability::Confirmable;
const NON: Reliability = Reliability::NonConfirmable;
const SECOND: Duration = Duration::from_secs(1);

fn key(message_id: u16) -> Key {
    Key { peer: ([127, 0, 0, 1], 4_000).into(), message_id }
}

fn exchanges(exchanges_max: usize) -> Exchanges {
    Exchanges::new(&Settings { exchanges_max, separates_max: 2, ..Settings::default() }, 7)
}

fn open(exchanges: &mut Exchanges, now: Instant, id: u16, reliability: Reliability) -> Result<(), Full> {
    exchanges.open(now, key(id), reliability, Token::default())
}

fn answer(exchanges: &mut Exchanges, now: Instant, id: u16) -> Option<Outgoing> {
    let response = Response::new(Code::CHANGED);
    exchanges.answer(now, key(id), Reply::Response { response: &response, block1: None, slice: None })
}

/// `CON 2.04`, `ACK empty`.
fn show(outgoing: &Outgoing) -> String {
    let Header { kind, code, .. } = Header::read(&outgoing.datagram).unwrap();
    let kind = ["CON", "NON", "ACK", "RST"][kind as usize];
    if code == 0 { format!("{kind} empty") } else { format!("{kind} {}", Code::from_byte(code)) }
}

fn id_of(outgoing: &Outgoing) -> u16 {
    Header::read(&outgoing.datagram).unwrap().message_id
}

fn dropped(exchanges: &mut Exchanges) -> Vec<Dropped> {
    exchanges.take_dropped().collect()
}

#[test]
fn answers_in_time_ride_on_the_ack_and_are_repeated_byte_by_byte() {
    let (mut it, start) = (exchanges(8), Instant::now());
    assert_eq!(it.seen(key(1)), Seen::Never);
    open(&mut it, start, 1, CON).unwrap();
    assert_eq!(it.seen(key(1)), Seen::Before(None), "in progress: silence");
    let sent = answer(&mut it, start, 1).unwrap();
    assert_eq!((show(&sent).as_str(), id_of(&sent)), ("ACK 2.04", 1));
    for _ in 0..3 {
        assert_eq!(it.seen(key(1)), Seen::Before(Some(sent.clone())));
    }
    assert_eq!(it.seen(Key { peer: ([127, 0, 0, 1], 4_001).into(), message_id: 1 }), Seen::Never);
    assert_eq!(answer(&mut it, start, 1), None, "answered once");
    assert_eq!(it.poll(start + SECOND), [], "nothing left to acknowledge");
    assert_eq!(it.deadline(), None);
}

#[test]
fn ids_live_for_their_lifetime() {
    for (reliability, lifetime_s) in [(CON, 247), (NON, 145)] {
        let (mut it, start) = (exchanges(8), Instant::now());
        open(&mut it, start, 1, reliability).unwrap();
        answer(&mut it, start, 1).unwrap();
        it.poll(start + SECOND * lifetime_s - Duration::from_millis(1));
        assert_ne!(it.seen(key(1)), Seen::Never, "{reliability:?}");
        it.poll(start + SECOND * lifetime_s);
        assert_eq!(it.seen(key(1)), Seen::Never, "{reliability:?}");
    }
}

#[test]
fn non_requests_get_non_answers_with_ids_of_the_server() {
    let (mut it, start) = (exchanges(8), Instant::now());
    let mut ids = Vec::new();
    for id in [30, 10, 20] {
        open(&mut it, start, id, NON).unwrap();
        let sent = answer(&mut it, start, id).unwrap();
        assert_eq!(show(&sent), "NON 2.04");
        assert_eq!(it.seen(key(id)), Seen::Before(Some(sent.clone())));
        ids.push(id_of(&sent));
    }
    assert_eq!(ids[1..], [ids[0].wrapping_add(1), ids[0].wrapping_add(2)]);
    assert_eq!(it.deadline(), None, "a NON is never acknowledged");
}

#[test]
fn slow_answers_come_separately_until_acknowledged() {
    let (mut it, start) = (exchanges(8), Instant::now());
    open(&mut it, start, 1, CON).unwrap();
    assert_eq!(it.deadline(), Some(start + SECOND));
    assert_eq!(it.poll(start + SECOND - Duration::from_millis(1)), []);
    let acks = it.poll(start + SECOND);
    assert_eq!(acks.iter().map(show).collect::<Vec<_>>(), ["ACK empty"]);
    assert_eq!(it.seen(key(1)), Seen::Before(Some(acks[0].clone())));

    let sent = answer(&mut it, start + SECOND * 5, 1).unwrap();
    assert_eq!(show(&sent), "CON 2.04");
    assert_eq!(it.seen(key(1)), Seen::Before(Some(acks[0].clone())), "the request's own reply is the ACK");
    let due = it.deadline().unwrap();
    assert!((SECOND * 7..=SECOND * 8).contains(&(due - start)), "2 to 3 s after it was sent");
    assert_eq!(it.poll(due), std::slice::from_ref(&sent));

    it.acknowledged(key(id_of(&sent)));
    assert_eq!(it.poll(due + SECOND * 100), []);
    assert_eq!(dropped(&mut it), []);
}

#[test]
fn separate_answers_are_given_up_after_four_retransmissions() {
    let (mut it, start) = (exchanges(8), Instant::now());
    open(&mut it, start, 1, CON).unwrap();
    it.poll(start + SECOND);
    let sent = answer(&mut it, start + SECOND, 1).unwrap();
    let mut at = vec![start + SECOND];
    while let Some(due) = it.deadline() {
        if it.poll(due).first() == Some(&sent) {
            at.push(due);
        }
    }
    let waits: Vec<_> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(waits.len(), 4);
    assert!(waits.windows(2).all(|pair| pair[1] == pair[0] * 2), "doubled each time: {waits:?}");
    assert_eq!(dropped(&mut it), [Dropped::Unanswered]);
}

#[test]
fn a_reset_stops_retransmission() {
    let (mut it, start) = (exchanges(8), Instant::now());
    open(&mut it, start, 1, CON).unwrap();
    it.poll(start + SECOND);
    let sent = answer(&mut it, start + SECOND, 1).unwrap();
    it.reset(key(id_of(&sent)));
    it.reset(key(id_of(&sent)));
    assert_eq!(it.poll(start + SECOND * 100), []);
    assert_eq!(dropped(&mut it), [Dropped::Unanswered], "counted once");
}

#[test]
fn separate_answers_beyond_the_limit_are_sent_once() {
    let (mut it, start) = (exchanges(8), Instant::now());
    for id in 1..4 {
        open(&mut it, start, id, CON).unwrap();
    }
    it.poll(start + SECOND);
    let sent: Vec<_> = (1..4).map(|id| show(&answer(&mut it, start + SECOND, id).unwrap())).collect();
    assert_eq!(sent, ["CON 2.04"; 3]);
    assert_eq!(dropped(&mut it), [Dropped::NotRetransmitted]);
    assert_eq!(it.poll(start + SECOND * 5).len(), 2);
}

#[test]
fn suppressed_answers_still_acknowledge() {
    let (mut it, start) = (exchanges(8), Instant::now());
    open(&mut it, start, 1, CON).unwrap();
    open(&mut it, start, 2, NON).unwrap();
    let sent = it.answer(start, key(1), Reply::Suppressed).unwrap();
    assert_eq!((show(&sent).as_str(), id_of(&sent)), ("ACK empty", 1));
    assert_eq!(it.answer(start, key(2), Reply::Suppressed), None);
    assert_eq!(it.seen(key(2)), Seen::Before(None));
}

#[test]
fn a_full_table_forgets_the_oldest_finished_but_never_what_is_in_progress() {
    let (mut it, start) = (exchanges(3), Instant::now());
    for id in 1..4 {
        open(&mut it, start, id, CON).unwrap();
    }
    assert_eq!(open(&mut it, start, 4, CON), Err(Full));
    answer(&mut it, start, 2).unwrap();
    assert_eq!(open(&mut it, start, 4, NON), Ok(()));
    assert_eq!(dropped(&mut it), [Dropped::ForgottenEarly]);
    let known: Vec<_> = (1..5).filter(|&id| it.seen(key(id)) != Seen::Never).collect();
    assert_eq!(known, [1, 3, 4]);
    it.poll(start + SECOND * 1_000);
    assert_eq!(it.store.len(), 3, "in progress for longer than a lifetime");
    assert!(answer(&mut it, start + SECOND * 1_000, 1).is_some());
    it.poll(start + SECOND * 2_000);
    assert_eq!(it.store.len(), 2);
}
