//! At most N requests in work, and of those that wait the most urgent goes first: by the client's word (RFC 9218), but
//! what stands under `/batch/` after all else. Whoever has the key and the output can answer.
//!
//! `REQUESTS=2 cargo run --example priorities`, then `curl -H 'priority: u=0' http://127.0.0.1:8080/`.

use std::{collections::BTreeMap, env, error::Error, sync::Arc};

use http::Response;
use hyperpull::{Connection, Key, Output, Request, Sent, config::Config, fields::RequestFields, timer::TokioTimer};
use sfv::{BareItem, Dictionary, Item, ListEntry, Parser};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc::{Receiver, Sender, channel},
    task::JoinSet,
};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;
type Job = (Key, Request<TcpStream, TokioTimer>, Output<TcpStream, TokioTimer>);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let port = env::var("PORT").unwrap_or_else(|_| "8080".into());
    let most = env::var("REQUESTS").map_or(Ok(2), |most| most.parse())?;
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("http://{}", listener.local_addr()?);
    let config = Arc::new(Config::default());
    let (jobs, arrivals) = channel(1);
    tokio::spawn(dispatch(arrivals, most));
    loop {
        let (io, _) = listener.accept().await?;
        io.set_nodelay(true).ok();
        let connection = Connection::new(io, config.clone(), TokioTimer::default());
        tokio::spawn(handle_connection(connection, jobs.clone()));
    }
}

async fn handle_connection(connection: Connection<TcpStream, TokioTimer>, jobs: Sender<Job>) -> Result<()> {
    while let Some(stream) = connection.next().await {
        let (mut input, output) = stream?.split();
        while let Some(item) = input.next().await {
            let (key, request) = item?;
            jobs.send((key, request, output.clone())).await?;
        }
    }
    Ok(())
}

/// Puts what arrives in order, and lets begin what may.
async fn dispatch(mut arrivals: Receiver<Job>, most: usize) {
    let (mut waiting, mut working) = (BTreeMap::new(), JoinSet::new());
    for arrival in 0_u64.. {
        tokio::select! {
            Some(job) = arrivals.recv() => {
                let (path, headers) = (job.1.uri().path(), job.1.headers());
                let rank = if path.starts_with("/batch/") { 8 } else { urgency(headers) };
                println!("{path} waits with rank {rank}");
                waiting.insert((rank, arrival), job);
            }
            Some(_) = working.join_next() => {}
        }
        while working.len() < most
            && let Some((_, job)) = waiting.pop_first()
        {
            working.spawn(work(job));
        }
    }
}

/// The work: as long as the body takes to come.
async fn work((key, mut request, mut output): Job) -> Result<Sent> {
    println!("{} begins", request.uri().path());
    let size = request.body_mut().bytes(1 << 20).await?.len();
    Ok(output.send((key, Response::new(format!("{size}\n")))).await?)
}

/// RFC 9218 section 4.1: 0 is the most urgent, 7 the least, 3 what is not said or makes no sense.
fn urgency(headers: &RequestFields) -> u8 {
    let lines: Vec<_> = headers.get_all("priority").collect();
    let field: Dictionary = Parser::new(&lines.join(&b", "[..])).parse().unwrap_or_default();
    match field.get("u") {
        Some(ListEntry::Item(Item { bare_item: BareItem::Integer(urgency), .. })) => {
            u8::try_from(*urgency).ok().filter(|urgency| *urgency < 8).unwrap_or(3)
        }
        _ => 3,
    }
}
