//! A task for each connection. Within it, the loop of issue #2901 as it is: one stream, one request after the other.
//!
//! `cargo run --example spawn_connections`, then `curl http://127.0.0.1:8080/`.

use std::{env, error::Error, sync::Arc};

use bytes::Bytes;
use http::Response;
use hyperpull::{Connection, Request, Stream, config::Config, timer::TokioTimer};
use tokio::net::{TcpListener, TcpStream};

// What a task returns crosses threads: hence `Send` and `Sync`.
type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<()> {
    let port = env::var("PORT").unwrap_or_else(|_| "8080".into());
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("http://{}", listener.local_addr()?);
    serve(listener).await
}

/// Apart from `main`, so that the tests run it under other runtimes too.
pub async fn serve(listener: TcpListener) -> Result<()> {
    let config = Arc::new(Config::default());
    loop {
        let (io, _) = listener.accept().await?;
        io.set_nodelay(true).ok();
        let connection = Connection::new(io, config.clone(), TokioTimer::default());
        tokio::spawn(handle_connection(connection));
    }
}

async fn handle_connection(connection: Connection<TcpStream, TokioTimer>) -> Result<()> {
    while let Some(stream) = connection.next().await {
        handle_stream(stream?).await.ok();
    }
    Ok(())
}

async fn handle_stream(stream: Stream<TcpStream, TokioTimer>) -> Result<()> {
    let (mut input, mut output) = stream.split();
    while let Some(item) = input.next().await {
        let (key, request) = item?;
        output.send((key, handle_request(request).await)).await?;
    }
    Ok(())
}

/// Answers with what was asked for, and with the size of the body.
async fn handle_request(mut request: Request<TcpStream, TokioTimer>) -> Response<Bytes> {
    let size = request.body_mut().bytes(1 << 20).await.map(|body| body.len());
    Response::new(Bytes::from(format!("{} {} {size:?}\n", request.method(), request.uri().path())))
}
