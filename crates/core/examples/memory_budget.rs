//! One budget for the bodies of all requests: a body is read when there is room for all of it, so that two readers
//! never wait for each other's rest. What waits stays with the peer: unread bytes hold the sender up.
//!
//! `cargo run --example memory_budget`, then `curl -T file http://127.0.0.1:8080/`.

use std::{env, error::Error, sync::Arc};

use http::Response;
use hyperpull::{Connection, Stream, config::Config, timer::TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Bytes of all bodies together.
const BUDGET: usize = 4 << 20;
/// Bytes of one body: more is answered with 413. Room for so much is taken for one that does not say its length.
const LARGEST: u32 = 1 << 20;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let port = env::var("PORT").unwrap_or_else(|_| "8080".into());
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("http://{}", listener.local_addr()?);
    let mut config = Config::default();
    config.limits.body_bytes = LARGEST.into();
    // What a connection reads ahead of the pulls comes on top of the budget. On HTTP/2 each stream may fill a sixteenth
    // of it: with sixteen or more, those that wait for room could leave none of the window to those that read.
    config.limits.buffered_bytes = 256 << 10;
    config.limits.concurrent_streams = 4;
    let (config, budget) = (Arc::new(config), Arc::new(Semaphore::new(BUDGET)));
    loop {
        let (io, _) = listener.accept().await?;
        io.set_nodelay(true).ok();
        let connection = Connection::new(io, config.clone(), TokioTimer::default());
        let budget = budget.clone();
        tokio::spawn(async move {
            while let Some(Ok(stream)) = connection.next().await {
                tokio::spawn(handle_stream(stream, budget.clone()));
            }
        });
    }
}

async fn handle_stream(stream: Stream<TcpStream, TokioTimer>, budget: Arc<Semaphore>) -> Result<()> {
    let (mut input, mut output) = stream.split();
    while let Some(item) = input.next().await {
        let (key, mut request) = item?;
        let path = request.uri().path().to_owned();
        let wanted = request.body().length().map_or(Ok(LARGEST), u32::try_from)?;
        println!("{path} wants {wanted}");
        let room = budget.acquire_many(wanted).await?;
        println!("{path} reads, {} are left", budget.available_permits());
        let response = match request.body_mut().bytes(LARGEST as usize).await {
            Ok(body) => Response::new(format!("{} bytes\n", body.len())),
            Err(error) => Response::builder().status(error.code().status().unwrap_or(500)).body(error.to_string())?,
        };
        output.send((key, response)).await?;
        drop(room);
    }
    Ok(())
}
