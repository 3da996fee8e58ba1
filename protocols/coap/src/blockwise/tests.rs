//! Uploads by virtual time.

use std::time::Duration;

use super::*;

const LIMITS: UploadLimits =
    UploadLimits { per_endpoint_max: 2, uploads_max: 3, bytes_max: 200, idle: Duration::from_secs(60) };
const BODY_BYTES_MAX: usize = 100;

struct Bench {
    uploads: Uploads,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        Self { uploads: Uploads::new(LIMITS, BODY_BYTES_MAX), now: Instant::now() }
    }

    /// Pushes `16 * length` (or for the last, any) bytes of `fill` as a block of 16.
    fn push(&mut self, tag: u8, number: u32, last: Option<usize>) -> Step {
        self.push_from(1, tag, number, last)
    }

    fn push_from(&mut self, port: u16, tag: u8, number: u32, last: Option<usize>) -> Step {
        self.uploads.push(self.now, ([127, 0, 0, 1], port).into(), part(tag, number, last))
    }
}

/// Block `number` of 16 bytes, all of them the tag; the last one has its own length.
fn part(tag: u8, number: u32, last: Option<usize>) -> Part {
    let block = Block::decode(&(number << 4 | u32::from(last.is_none()) << 3).to_be_bytes()[1..]).unwrap();
    Part {
        identity: Identity {
            method: Method::Post,
            path: "up".to_owned(),
            query: Vec::new(),
            tags: vec![vec![tag]],
        },
        block,
        whole_bytes: None,
        content_format: Some(110),
        payload: Bytes::from(vec![tag; last.unwrap_or(16)]),
    }
}

#[test]
fn blocks_in_order_become_one_body() {
    let mut bench = Bench::new();
    assert_eq!(bench.push(1, 0, None), Step::Continue);
    assert_eq!(bench.push(1, 1, None), Step::Continue);
    assert_eq!(bench.push(1, 2, Some(3)), Step::Complete(Bytes::from(vec![1; 35])));
    assert!(bench.uploads.is_empty());
    assert_eq!(bench.push(1, 2, Some(3)), Step::Incomplete, "under a new message id it belongs to nothing");
    assert_eq!(bench.push(1, 0, Some(9)), Step::Complete(Bytes::from(vec![1; 9])), "a single block");
}

#[test]
fn a_gap_ends_the_upload() {
    let mut bench = Bench::new();
    assert_eq!(bench.push(1, 0, None), Step::Continue);
    assert_eq!(bench.push(1, 2, Some(3)), Step::Incomplete);
    assert_eq!(bench.push(1, 1, None), Step::Incomplete, "nothing is left of it");
    assert_eq!(bench.push(1, 5, None), Step::Incomplete, "never begun");
}

#[test]
fn block_zero_begins_anew() {
    let mut bench = Bench::new();
    assert_eq!(bench.push(1, 0, None), Step::Continue);
    assert_eq!(bench.push(1, 0, None), Step::Continue);
    assert_eq!(bench.push(1, 1, Some(1)), Step::Complete(Bytes::from(vec![1; 17])));
}

#[test]
fn interleaved_uploads_do_not_mix() {
    let mut bench = Bench::new();
    assert_eq!(bench.push(1, 0, None), Step::Continue);
    assert_eq!(bench.push(2, 0, None), Step::Continue);
    assert_eq!(bench.push_from(9, 1, 0, None), Step::Continue);
    assert_eq!(bench.push(1, 1, Some(4)), Step::Complete(Bytes::from(vec![1; 20])));
    assert_eq!(bench.push(2, 1, Some(5)), Step::Complete(Bytes::from(vec![2; 21])));
    assert_eq!(bench.push_from(9, 1, 1, Some(6)), Step::Complete(Bytes::from(vec![1; 22])));
}

#[test]
fn path_query_and_method_tell_uploads_apart() {
    let changes: [fn(&mut Identity); 3] = [
        |identity| identity.path.push('x'),
        |identity| identity.query.push("dev=2".to_owned()),
        |identity| identity.method = Method::Put,
    ];
    for change in changes {
        let mut bench = Bench::new();
        assert_eq!(bench.push(1, 0, None), Step::Continue);
        let mut other = part(1, 1, Some(1));
        change(&mut other.identity);
        assert_eq!(bench.uploads.push(bench.now, ([127, 0, 0, 1], 1).into(), other), Step::Incomplete);
    }
}

#[test]
fn bodies_beyond_the_limit_are_refused_as_early_as_possible() {
    let mut bench = Bench::new();
    let announced = Part { whole_bytes: Some(101), ..part(1, 0, None) };
    let step = bench.uploads.push(bench.now, ([127, 0, 0, 1], 1).into(), announced);
    assert_eq!(step, Step::TooLarge { body_bytes: 101, start: Bytes::from(vec![1; 16]) });
    for number in 0..6 {
        assert_eq!(bench.push(1, number, None), Step::Continue);
    }
    let too_large = Step::TooLarge { body_bytes: 101, start: Bytes::from(vec![1; 101]) };
    assert_eq!(bench.push(1, 6, Some(5)), too_large);
    assert!(bench.uploads.is_empty());
    assert_eq!(bench.push(1, 7, None), Step::Incomplete, "found too large once");
    assert_eq!(bench.push(1, 5_000, None), Step::Incomplete, "a number that needs three bytes");
}

#[test]
fn of_what_is_too_large_only_the_start_is_kept() {
    let mut uploads = Uploads::new(UploadLimits::default(), 5_000);
    let (now, peer) = (Instant::now(), ([127, 0, 0, 1], 1).into());
    for number in 0..312 {
        assert_eq!(uploads.push(now, peer, part(1, number, None)), Step::Continue);
    }
    let start = Bytes::from(vec![1; Fault::START_BYTES_MAX]);
    assert_eq!(uploads.push(now, peer, part(1, 312, None)), Step::TooLarge { body_bytes: 5_008, start });
}

#[test]
fn number_5000_is_read_as_such() {
    let mut uploads = Uploads::new(UploadLimits::default(), 1 << 20);
    let (now, peer) = (Instant::now(), ([127, 0, 0, 1], 1).into());
    assert_eq!(uploads.push(now, peer, part(1, 5_000, Some(1))), Step::Incomplete);
    for number in 0..5_000 {
        assert_eq!(uploads.push(now, peer, part(1, number, None)), Step::Continue);
    }
    assert_eq!(
        uploads.push(now, peer, part(1, 5_000, Some(1))),
        Step::Complete(Bytes::from(vec![1; 80_001]))
    );
}

#[test]
fn payloads_fit_their_block() {
    let mut bench = Bench::new();
    for (last, length) in [(None, 15), (None, 17), (Some(0), 17)] {
        let payload = Bytes::from(vec![1; length]);
        let wrong = Part { payload, ..part(1, 0, last) };
        assert_eq!(bench.uploads.push(bench.now, ([127, 0, 0, 1], 1).into(), wrong), Step::BadLength);
    }
    assert!(bench.uploads.is_empty());
}

#[test]
fn another_content_format_is_another_body() {
    let mut bench = Bench::new();
    assert_eq!(bench.push(1, 0, None), Step::Continue);
    let other = Part { content_format: None, ..part(1, 1, Some(1)) };
    assert_eq!(bench.uploads.push(bench.now, ([127, 0, 0, 1], 1).into(), other), Step::Incomplete);
}

#[test]
fn uploads_are_limited_by_endpoint_number_and_bytes() {
    let mut bench = Bench::new();
    assert_eq!(bench.push(1, 0, None), Step::Continue);
    assert_eq!(bench.push(2, 0, None), Step::Continue);
    assert_eq!(bench.push(3, 0, None), Step::Full, "three of one endpoint");
    assert_eq!(bench.push_from(2, 1, 0, None), Step::Continue);
    assert_eq!(bench.push_from(3, 1, 0, None), Step::Full, "four of all");
    for number in 1..5 {
        assert_eq!(bench.push(1, number, None), Step::Continue);
        assert_eq!(bench.push(2, number, None), Step::Continue);
    }
    assert_eq!(bench.push_from(2, 1, 1, None), Step::Continue, "192 bytes");
    assert_eq!(bench.push(1, 5, None), Step::Full, "208 bytes");
    assert_eq!(bench.push(2, 5, None), Step::Continue, "the first has made room");
}

#[test]
fn idle_uploads_are_forgotten() {
    let mut bench = Bench::new();
    assert_eq!(bench.push(1, 0, None), Step::Continue);
    bench.now += Duration::from_secs(30);
    assert_eq!(bench.push(2, 0, None), Step::Continue);
    assert_eq!(bench.uploads.expire(bench.now + Duration::from_secs(29)), 0);
    assert_eq!(bench.uploads.expire(bench.now + Duration::from_secs(30)), 1);
    assert_eq!(bench.push(1, 1, Some(1)), Step::Incomplete);
    assert_eq!(bench.push(2, 1, Some(1)), Step::Complete(Bytes::from(vec![2; 17])));
}
