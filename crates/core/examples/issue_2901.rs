//! The loop of hyper issue #2901, with the least possible change. Each change says why.
//!
//! `cargo run --example issue_2901`, then `curl http://127.0.0.1:8080/` or `curl --http2-prior-knowledge ...`.

use std::{env, error::Error, sync::Arc, time::Instant};

use bytes::Bytes;
use http::Response;
// `HttpProtocol` is `Connection`, `HttpStream` is `Stream`: the words of RFC 9112 and RFC 9113.
use hyperpull::{Connection, Request, Stream, Upgraded, config::Config, timer::TokioTimer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let port = env::var("PORT").unwrap_or_else(|_| "8080".into());
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("http://{}", listener.local_addr()?);
    // Limits and timeouts, shared by the connections.
    let config = Arc::new(Config::default());

    while let Ok((conn, _)) = listener.accept().await {
        // Nagle's algorithm would hold back the end of an answer until the client has acknowledged its beginning.
        conn.set_nodelay(true).ok();
        // wrap low-level connection into http connection
        // Not `await`ed: the protocol is detected by the first `next`, which also has the deadline for it.
        let conn = Connection::new(conn, config.clone(), TokioTimer::default());

        // stream could be h1/h2 or h3 someday, for h1: each conn yield only one stream
        while let Some(http_stream) = conn.next().await {
            // A peer that breaks the protocol ends its connection, not the server: no `?` here.
            let Ok(http_stream) = http_stream else { break };
            handle_stream(http_stream).await.ok();
        }
    }
    Ok(())
}

async fn handle_stream(stream: Stream<TcpStream, TokioTimer>) -> Result<()> {
    let (mut input, mut output) = stream.split();

    // pull a new request
    // we know that request is one-by-one inside a stream
    while let Some(item) = input.next().await {
        // key could be used to ensure request/response is matched (Eg. no re-order)
        // key is Copy
        let (key, req) = item?;

        // handle upgrade if upgradable
        // The request says what it asks for; the key is nothing but a name.
        if req.upgrade().is_some() {
            // consume input & output, into stream
            let stream = output.upgrade(input, key, Response::new(())).await?;
            return handle_upgraded_stream(stream).await;
        }

        // handle request
        let res = handle_request(req).await;

        // now, we have the opportunity to know that reply has been sent
        let now = Instant::now();
        output.send((key, res)).await?;
        eprintln!("reply time: {:?}", now.elapsed());
    }

    Ok(())
}

/// Answers with what was asked for, and with the size of the body.
async fn handle_request(mut req: Request<TcpStream, TokioTimer>) -> Response<Bytes> {
    let size = req.body_mut().bytes(1 << 20).await.map(|body| body.len());
    Response::new(Bytes::from(format!("{} {} {size:?}\n", req.method(), req.uri().path())))
}

/// Sends everything back.
async fn handle_upgraded_stream(mut stream: Upgraded<TcpStream, TokioTimer>) -> Result<()> {
    let mut chunk = vec![0; 16 << 10];
    loop {
        let read = stream.read(&mut chunk).await?;
        if read == 0 {
            return Ok(stream.shutdown().await?);
        }
        stream.write_all(&chunk[..read]).await?;
        stream.flush().await?;
    }
}
