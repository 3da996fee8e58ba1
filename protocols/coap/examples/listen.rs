//! A CoAP server that prints what it gets: `cargo run -p forebay-coap --example listen [ADDRESS]`.
//!
//! Try it with libcoap (`coap-client-notls -m post -t 110 -e '[{"n":"a","v":1}]' coap://127.0.0.1:5683/a/b`)
//! or aiocoap (`aiocoap-client coap://127.0.0.1/.well-known/core`). `/slow` takes three seconds, which
//! makes its answer a separate response; `/busy` is always refused.

use std::sync::Arc;
use std::time::Duration;

use coap::{Code, Dropped, Host, Method, Request, Response, Settings};
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

/// application/link-format
const LINK_FORMAT: u16 = 40;

struct Printer;

impl Host for Printer {
    fn door(&self) -> Option<Response> {
        None
    }

    async fn handle(&self, burst: Vec<Request>) -> Vec<Response> {
        if burst.iter().any(|request| request.path == "slow") {
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
        burst.iter().map(answer).collect()
    }

    fn dropped(&self, reason: Dropped) {
        println!("dropped: {}", reason.as_str());
    }
}

fn answer(request: &Request) -> Response {
    println!(
        "{:?} {:?} /{} {:?} format {:?}, {} bytes from {}",
        request.reliability,
        request.method,
        request.path,
        request.query,
        request.content_format,
        request.payload.len(),
        request.peer,
    );
    match (request.method, request.path.as_str()) {
        (Method::Get, ".well-known/core") => Response::content(LINK_FORMAT, "</slow>,</busy>"),
        (_, "busy") => Response::new(Code::SERVICE_UNAVAILABLE).with_max_age_s(10),
        (Method::Post | Method::Put, _) => Response::new(Code::CHANGED),
        _ => Response::new(Code::NOT_FOUND),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:5683".to_owned());
    let socket = UdpSocket::bind(&address).await?;
    println!("listening on {}", socket.local_addr()?);
    coap::serve(socket, Arc::new(Printer), Settings::default(), CancellationToken::new()).await
}
