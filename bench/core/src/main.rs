//! hyperpull's Rust crate alone: no JavaScript, one thread. PORT comes from the environment.
use std::env::var;
use std::error::Error;
use std::net::Ipv4Addr;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};
use hyperpull::config::Config;
use hyperpull::event::Protocol;
use hyperpull::timer::TokioTimer;
use hyperpull::{Connection, Stream};
use tokio::net::{TcpListener, TcpStream};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, var("PORT")?.parse()?)).await?;
    let config = Arc::new(Config::default());
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        tokio::spawn(serve(Connection::new(socket, config.clone(), TokioTimer::default())));
    }
}

async fn serve(connection: Connection<TcpStream, TokioTimer>) -> Result<()> {
    while let Some(stream) = connection.next().await {
        // HTTP/1 has one stream.
        if connection.protocol() == Some(Protocol::Http2) {
            tokio::spawn(answer(stream?));
        } else {
            answer(stream?).await?;
        }
    }
    Ok(())
}

async fn answer(stream: Stream<TcpStream, TokioTimer>) -> Result<()> {
    let (mut input, mut output) = stream.split();
    while let Some(request) = input.next().await {
        let (key, _) = request?;
        let mut response = Response::new(Bytes::from_static(b"Hello, World!"));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        output.send((key, response)).await?;
    }
    Ok(())
}
