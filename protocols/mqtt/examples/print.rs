//! Serves publishers on a loopback port and prints what they send: the least an embedder does.
//!
//! `cargo run -p forebay-mqtt --example print -- 127.0.0.1:1883`

use std::net::SocketAddr;
use std::sync::Arc;

use mqtt::{CloseReason, Connect, ConnectRefusal, Host, Message, ProtocolError, Server, Settings, Verdict};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

struct Printer;

impl Host for Printer {
    type Session = String;

    async fn connect(&self, request: Connect) -> Result<Arc<String>, ConnectRefusal> {
        println!("{request:?}");
        Ok(Arc::new(request.client_id))
    }

    async fn publish(&self, client: &Arc<String>, burst: Vec<Message>) -> Vec<Verdict> {
        for message in &burst {
            println!("{client}: {message:?}");
        }
        vec![Verdict::Accepted; burst.len()]
    }

    fn closed(&self, client: &Arc<String>, reason: &CloseReason) {
        println!("{client}: {reason}");
    }

    async fn protocol_error(
        &self,
        peer: Option<SocketAddr>,
        _client: Option<&Arc<String>>,
        error: &ProtocolError,
    ) {
        println!("{peer:?}: {error} {:?}", error.evidence());
    }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".into());
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    let server = Arc::new(Server::new(Arc::new(Printer), Settings::default()));
    let (tracker, shutdown) = (TaskTracker::new(), CancellationToken::new());
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, peer) = accepted?;
                stream.set_nodelay(true)?;
                let (server, shutdown) = (server.clone(), shutdown.clone());
                tracker.spawn(async move { server.serve(stream, Some(peer), &shutdown).await });
            }
            stop = tokio::signal::ctrl_c() => {
                stop?;
                break;
            }
        }
    }
    shutdown.cancel();
    tracker.close();
    tracker.wait().await;
    Ok(())
}
