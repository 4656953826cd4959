//! The time that each reply took, until its last byte was with the transport; or why it was not.
//!
//! `cargo run --example reply_time`, then `curl http://127.0.0.1:8080/1000000` for so many bytes.

use std::{env, error::Error, sync::Arc, time::Instant};

use bytes::Bytes;
use http::Response;
use hyperpull::{Connection, Stream, config::Config, timer::TokioTimer};
use tokio::net::{TcpListener, TcpStream};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let port = env::var("PORT").unwrap_or_else(|_| "8080".into());
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("http://{}", listener.local_addr()?);
    let config = Arc::new(Config::default());
    let bytes = Bytes::from(vec![b'.'; 64 << 20]);
    loop {
        let (io, _) = listener.accept().await?;
        io.set_nodelay(true).ok();
        let connection = Connection::new(io, config.clone(), TokioTimer::default());
        let bytes = bytes.clone();
        tokio::spawn(async move {
            while let Some(Ok(stream)) = connection.next().await {
                tokio::spawn(handle_stream(stream, bytes.clone()));
            }
        });
    }
}

async fn handle_stream(stream: Stream<TcpStream, TokioTimer>, bytes: Bytes) -> Result<()> {
    let (mut input, mut output) = stream.split();
    while let Some(item) = input.next().await {
        let (key, request) = item?;
        let path = request.uri().path();
        let size = path.trim_start_matches('/').parse().unwrap_or(0).min(bytes.len());
        let now = Instant::now();
        match output.send((key, Response::new(bytes.slice(..size)))).await {
            Ok(sent) => println!("{path}: {} bytes sent in {:?}", sent.bytes, sent.at - now),
            Err(error) => println!("{path}: not sent, {error}"),
        }
    }
    Ok(())
}
