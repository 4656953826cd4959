//! Ends well at each level. Ctrl-C ends the listener and with it every connection; `/last` ends its own connection; and
//! on a connection that ends, the work of a stream and then the whole have a deadline.
//!
//! `cargo run --example graceful_shutdown`, then `curl http://127.0.0.1:8080/last`.

use std::{env, error::Error, pin::pin, sync::Arc, time::Duration};

use http::Response;
use hyperpull::{Connection, Stream, config::Config, engine::ResetReason, timer::TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    signal::ctrl_c,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let port = env::var("PORT").unwrap_or_else(|_| "8080".into());
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("http://{}", listener.local_addr()?);
    let (config, connections, stop) = (Arc::new(Config::default()), TaskTracker::new(), CancellationToken::new());
    let mut interrupt = pin!(ctrl_c());
    loop {
        let (io, _) = tokio::select! {
            accepted = listener.accept() => accepted?,
            _ = &mut interrupt => break,
        };
        io.set_nodelay(true).ok();
        let connection = Connection::new(io, config.clone(), TokioTimer::default());
        connections.spawn(handle_connection(connection, stop.child_token()));
    }
    // The listener: nobody is let in any more, and every connection ends.
    drop(listener);
    stop.cancel();
    connections.close();
    connections.wait().await;
    Ok(())
}

async fn handle_connection(connection: Connection<TcpStream, TokioTimer>, stop: CancellationToken) {
    let mut streams = pin!(async {
        while let Some(Ok(stream)) = connection.next().await {
            tokio::spawn(handle_stream(stream, connection.clone(), stop.clone()));
        }
    });
    tokio::select! {
        () = &mut streams => {}
        () = stop.cancelled() => {
            // The connection: nothing new begins, and what is in flight may finish in time.
            connection.drain();
            if timeout(deadline("CONNECTION_MS", 10_000), streams).await.is_err() {
                connection.close();
            }
        }
    }
    println!("{}", connection.closed().await.code.as_str());
}

async fn handle_stream(
    stream: Stream<TcpStream, TokioTimer>,
    connection: Connection<TcpStream, TokioTimer>,
    stop: CancellationToken,
) -> Result<()> {
    let (mut input, mut output) = stream.split();
    while let Some(item) = input.next().await {
        let (key, mut request) = item?;
        if request.uri().path() == "/last" {
            stop.cancel();
            // At once, so that this very answer says `connection: close`.
            connection.drain();
        }
        println!("{} begins", request.uri().path());
        tokio::select! {
            body = request.body_mut().bytes(1 << 20) => {
                output.send((key, Response::new(format!("{}\n", body?.len())))).await?;
            }
            // The stream: its client is told that no answer will come, the others of the connection go on.
            () = async { stop.cancelled().await; sleep(deadline("STREAM_MS", 5_000)).await } => {
                output.reset(ResetReason::Cancel);
            }
        }
    }
    Ok(())
}

fn deadline(name: &str, default: u64) -> Duration {
    Duration::from_millis(env::var(name).ok().and_then(|ms| ms.parse().ok()).unwrap_or(default))
}
