//! The loop of issue #2901 under smol: nothing of tokio runs. tokio's IO traits are put over smol's by `tokio-util`, and
//! the deadlines come from smol's timer by way of the trait `Timer`.
//!
//! `cargo run --example on_smol`, then `curl http://127.0.0.1:8080/`.

use std::{
    env,
    error::Error,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use http::Response;
use hyperpull::{Connection, config::Config, timer::Timer};
use smol::net::{TcpListener, TcpStream};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Result<()> {
    let port = env::var("PORT").unwrap_or_else(|_| "8080".into());
    smol::block_on(async {
        let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await?;
        println!("http://{}", listener.local_addr()?);
        serve(listener).await
    })
}

/// Apart from `main`, so that the tests run it too.
pub async fn serve(listener: TcpListener) -> Result<()> {
    let config = Arc::new(Config::default());
    loop {
        let (io, _) = listener.accept().await?;
        io.set_nodelay(true).ok();
        smol::spawn(handle_connection(Connection::new(io.compat(), config.clone(), SmolTimer::default()))).detach();
    }
}

async fn handle_connection(connection: Connection<Compat<TcpStream>, SmolTimer>) -> Result<()> {
    while let Some(stream) = connection.next().await {
        let (mut input, mut output) = stream?.split();
        while let Some(item) = input.next().await {
            let (key, mut request) = item?;
            let size = request.body_mut().bytes(1 << 20).await.map(|body| body.len());
            let text = format!("{} {} {size:?}\n", request.method(), request.uri().path());
            output.send((key, Response::new(Bytes::from(text)))).await?;
        }
    }
    Ok(())
}

/// One alarm of smol, set anew when the deadline is another.
#[derive(Default, Debug)]
pub struct SmolTimer(Option<(Instant, smol::Timer)>);

impl Timer for SmolTimer {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn poll_until(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= deadline {
            return Poll::Ready(());
        }
        let alarm = match &mut self.0 {
            Some((set, alarm)) if *set == deadline => alarm,
            slot => &mut slot.insert((deadline, smol::Timer::at(deadline))).1,
        };
        Pin::new(alarm).poll(cx).map(drop)
    }
}
