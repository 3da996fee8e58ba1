//! An HTTP server that keeps what it is sent, and answers as it is told to: the far end of a webhook.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::PATIENCE;

/// A request.
#[derive(Clone, Debug, Default)]
pub struct Post {
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Post {
    /// The value of a header, by its name in lower case; empty where it is missing.
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(header, _)| header == name);
        found.map_or("", |(_, value)| value)
    }
}

/// The server. Its thread ends with it.
pub struct Receiver {
    addr: SocketAddr,
    seen: Arc<Mutex<Vec<Post>>>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Receiver {
    /// Answers the n-th request with `status(n)`.
    pub fn start(status: impl Fn(usize) -> u16 + Send + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let (seen, is_over) = (Arc::new(Mutex::new(vec![])), Arc::new(AtomicBool::new(false)));
        let (posts, over) = (seen.clone(), is_over.clone());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                // A sender that breaks off has not sent.
                let Ok((stream, post)) = stream.and_then(read) else { continue };
                let number = {
                    let mut posts = posts.lock().unwrap();
                    posts.push(post);
                    posts.len() - 1
                };
                let _ = answer(stream, status(number));
            }
        });
        Self { addr, seen, is_over, thread: Some(thread) }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.addr)
    }

    /// What it was sent, in order.
    pub fn seen(&self) -> Vec<Post> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for a client.
        let _ = TcpStream::connect(self.addr);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn read(stream: TcpStream) -> io::Result<(TcpStream, Post)> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream);
    let mut post = Post::default();
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        if let Some((name, value)) = line.split_once(':') {
            post.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        line.clear();
    }
    post.body = vec![0; post.header("content-length").parse().unwrap_or(0)];
    reader.read_exact(&mut post.body)?;
    Ok((reader.into_inner(), post))
}

fn answer(mut stream: TcpStream, status: u16) -> io::Result<()> {
    write!(stream, "HTTP/1.1 {status} Told\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
}
