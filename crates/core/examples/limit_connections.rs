//! At most N connections: the next one is accepted when one has ended. Those that wait, wait in the kernel's backlog.
//!
//! `CONNECTIONS=2 cargo run --example limit_connections`, then `curl http://127.0.0.1:8080/`.

use std::{env, error::Error, sync::Arc};

use bytes::Bytes;
use http::Response;
use hyperpull::{Connection, config::Config, timer::TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let port = env::var("PORT").unwrap_or_else(|_| "8080".into());
    let most = env::var("CONNECTIONS").map_or(Ok(2), |most| most.parse())?;
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("http://{}", listener.local_addr()?);
    let config = Arc::new(Config::default());
    let places = Arc::new(Semaphore::new(most));
    loop {
        // A place first, then a connection: what there is no place for is not accepted.
        let place = places.clone().acquire_owned().await?;
        let (io, _) = listener.accept().await?;
        io.set_nodelay(true).ok();
        let connection = Connection::new(io, config.clone(), TokioTimer::default());
        let text = format!("connection {} of {most}\n", most - places.available_permits());
        tokio::spawn(async move {
            handle_connection(connection, text.into()).await.ok();
            drop(place);
        });
    }
}

async fn handle_connection(connection: Connection<TcpStream, TokioTimer>, text: Bytes) -> Result<()> {
    while let Some(stream) = connection.next().await {
        let (mut input, mut output) = stream?.split();
        while let Some(item) = input.next().await {
            let (key, _) = item?;
            output.send((key, Response::new(text.clone()))).await?;
        }
    }
    Ok(())
}
