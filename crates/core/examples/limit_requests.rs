//! At most N requests in work, over all connections. A request that has no place waits with its body unread, and while
//! it waits its connection pulls no other: one request a connection is all that piles up, and the peer feels it.
//!
//! `REQUESTS=2 cargo run --example limit_requests`, then `curl -d hello http://127.0.0.1:8080/`.

use std::{env, error::Error, sync::Arc};

use bytes::Bytes;
use http::Response;
use hyperpull::{Connection, Request, config::Config, timer::TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let port = env::var("PORT").unwrap_or_else(|_| "8080".into());
    let most = env::var("REQUESTS").map_or(Ok(2), |most| most.parse())?;
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("http://{}", listener.local_addr()?);
    let config = Arc::new(Config::default());
    let places = Arc::new(Semaphore::new(most));
    loop {
        let (io, _) = listener.accept().await?;
        io.set_nodelay(true).ok();
        let connection = Connection::new(io, config.clone(), TokioTimer::default());
        tokio::spawn(handle_connection(connection, places.clone()));
    }
}

async fn handle_connection(connection: Connection<TcpStream, TokioTimer>, places: Arc<Semaphore>) -> Result<()> {
    // While the loop waits for a place, pings are answered and answers go out all the same.
    tokio::spawn(connection.driver());
    while let Some(stream) = connection.next().await {
        let (mut input, output) = stream?.split();
        while let Some(item) = input.next().await {
            let (key, request) = item?;
            println!("{} is pulled", request.uri().path());
            let place = places.clone().acquire_owned().await?;
            let mut output = output.clone();
            tokio::spawn(async move {
                let response = handle_request(request).await;
                drop(place);
                output.send((key, response)).await
            });
        }
    }
    Ok(())
}

/// The work: as long as the body takes to come.
async fn handle_request(mut request: Request<TcpStream, TokioTimer>) -> Response<Bytes> {
    println!("{} begins", request.uri().path());
    let size = request.body_mut().bytes(1 << 20).await.map(|body| body.len());
    println!("{} ends", request.uri().path());
    Response::new(Bytes::from(format!("{size:?}\n")))
}
