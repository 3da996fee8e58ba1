//! Bodies in blocks, on the wire.

use coap::{Dropped, Fault, Settings};

use crate::harness::{CON, GET, Gate, POST, Server, describe, message};

/// Block1 of 16 bytes as an option behind Uri-Path (delta 16 = 13 + 3).
fn block1(number: u8, more: u8) -> [u8; 3] {
    [0xd1, 3, number << 4 | more << 3]
}

fn upload(id: u16, number: u8, more: u8) -> Vec<u8> {
    message(CON, POST, id, "up", &block1(number, more), &[b'0' + number; 16])
}

#[tokio::test]
async fn an_upload_is_one_request_and_its_last_block_is_answered_from_memory() {
    let server = Server::start(Settings::default(), Gate::Open).await;
    let device = server.device().await;
    assert_eq!(device.ask(&upload(1, 0, 1)).await, "ACK 2.31 #1 aa 27=08");
    assert_eq!(device.ask(&upload(1, 0, 1)).await, "ACK 2.31 #1 aa 27=08", "retransmitted");
    assert_eq!(device.ask(&upload(2, 1, 1)).await, "ACK 2.31 #2 aa 27=18");
    assert_eq!(server.host.requests(), []);
    for _ in 0..3 {
        assert_eq!(device.ask(&upload(3, 2, 0)).await, "ACK 2.04 #3 aa 27=20");
    }
    let requests = server.host.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].payload, [[b'0'; 16], [b'1'; 16], [b'2'; 16]].concat());
}

#[tokio::test]
async fn a_lost_block_is_never_filled_with_zeros() {
    let server = Server::start(Settings::default(), Gate::Open).await;
    let device = server.device().await;
    assert_eq!(device.ask(&upload(1, 0, 1)).await, "ACK 2.31 #1 aa 27=08");
    assert_eq!(device.ask(&upload(2, 2, 0)).await, "ACK 4.08 #2 aa 27=20 not the next block");
    assert_eq!(server.host.dropped(), [Dropped::Incomplete]);
    assert_eq!(server.host.requests(), []);
}

#[tokio::test]
async fn bodies_beyond_the_limit_and_reserved_sizes_are_refused() {
    let server = Server::start(Settings { body_bytes_max: 20, ..Settings::default() }, Gate::Open).await;
    let device = server.device().await;
    let whole = message(CON, POST, 1, "up", &[], &[b'x'; 21]);
    assert_eq!(device.ask(&whole).await, "ACK 4.13 #1 aa 60=14");
    assert_eq!(device.ask(&upload(2, 0, 1)).await, "ACK 2.31 #2 aa 27=08");
    assert_eq!(device.ask(&upload(3, 1, 1)).await, "ACK 4.13 #3 aa 27=10 60=14");
    // Size1 (delta 33 = 13 + 20) announces 21 bytes.
    let announced = [&block1(0, 1)[..], &[0xd1, 20, 21]].concat();
    let first = message(CON, POST, 4, "up", &announced, &[b'x'; 16]);
    assert_eq!(device.ask(&first).await, "ACK 4.13 #4 aa 27= 60=14");
    let reserved = message(CON, POST, 5, "up", &[0xd1, 3, 0x07], b"x");
    assert_eq!(device.ask(&reserved).await, "ACK 4.00 #5 aa block size 7 is reserved");
    let requests = server.host.requests();
    let seen = requests.iter().map(|request| (request.message_id, request.fault, &request.payload[..]));
    let too_large = |body_bytes| Some(Fault::TooLarge { body_bytes, body_bytes_max: 20 });
    let two_blocks = [[b'0'; 16], [b'1'; 16]].concat();
    let want: [(u16, Option<Fault>, &[u8]); 3] =
        [(1, too_large(21), &[b'x'; 21]), (3, too_large(32), &two_blocks), (4, too_large(21), &[b'x'; 16])];
    assert_eq!(seen.collect::<Vec<_>>(), want, "with what there is of it");
}

/// The host decides, as for any request, and its answer is what the block's message id is remembered for.
#[tokio::test]
async fn an_upload_that_is_too_large_is_answered_by_the_host_and_then_from_memory() {
    let server = Server::start(Settings { body_bytes_max: 20, ..Settings::default() }, Gate::Closed).await;
    let device = server.device().await;
    assert_eq!(device.ask(&upload(1, 0, 1)).await, "ACK 2.31 #1 aa 27=08");
    device.send(&upload(2, 1, 1)).await;
    server.until_requests(1).await;
    device.send(&upload(2, 1, 1)).await;
    device.hears_nothing().await;
    server.host.gate.send_replace(Gate::Open);
    for _ in 0..3 {
        assert_eq!(describe(&device.receive().await), "ACK 4.13 #2 aa 27=10 60=14");
        device.send(&upload(2, 1, 1)).await;
    }
    let next = upload(3, 2, 0);
    device.receive().await;
    assert_eq!(device.ask(&next).await, "ACK 4.08 #3 aa 27=20 not the next block");
    assert_eq!(server.host.requests().len(), 1);
}

#[tokio::test]
async fn a_large_answer_is_read_in_blocks() {
    let server = Server::start(Settings::default(), Gate::Open).await;
    let device = server.device().await;
    let mut whole = Vec::new();
    for number in 0_u16..3 {
        // Block2 (delta 12) with SZX 6.
        let wish = [0xc1, (number << 4) as u8 | 6];
        device.send(&message(CON, GET, number, "big", &wish, b"")).await;
        let answer = device.receive().await;
        let packet = coap_lite::Packet::from_bytes(&answer).unwrap();
        let more = u8::from(number < 2) << 3;
        let block2 = packet.get_first_option(coap_lite::CoapOption::Block2).unwrap();
        assert_eq!(block2, &[(number << 4) as u8 | more | 6]);
        whole.extend(packet.payload);
    }
    assert_eq!(whole, (0..2_500_u32).map(|n| n as u8).collect::<Vec<_>>());
    let beyond = message(CON, GET, 9, "big", &[0xc1, 3 << 4 | 6], b"");
    assert_eq!(device.ask(&beyond).await, "ACK 4.00 #9 aa no such block");
}
