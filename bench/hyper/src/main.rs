//! hyper alone: no JavaScript, one thread. PORT, PROTOCOL (h1, h2) and TASK come from the environment.
use std::convert::Infallible;
use std::env::var;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

type Answer = Result<Response<BoxBody<Bytes, Infallible>>, hyper::Error>;

#[derive(Clone, Copy)]
enum Task {
    Hello,
    Mebibyte,
    Upload,
    Download,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, var("PORT")?.parse()?)).await?;
    let h2 = var("PROTOCOL").is_ok_and(|protocol| protocol == "h2");
    let task = match var("TASK").as_deref() {
        Ok("mebibyte") => Task::Mebibyte,
        Ok("upload") => Task::Upload,
        Ok("download") => Task::Download,
        _ => Task::Hello,
    };
    let service = service_fn(move |request| answer(request, task));
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let io = TokioIo::new(socket);
        if h2 {
            tokio::spawn(http2::Builder::new(TokioExecutor::new()).serve_connection(io, service));
        } else {
            tokio::spawn(http1::Builder::new().serve_connection(io, service));
        }
    }
}

async fn answer(request: Request<Incoming>, task: Task) -> Answer {
    static MEBIBYTE: [u8; 1 << 20] = [b'x'; 1 << 20];
    let body = match task {
        Task::Hello => Full::from("Hello, World!").boxed(),
        Task::Mebibyte => Full::from(&MEBIBYTE[..]).boxed(),
        Task::Upload => Full::from(length(request.into_body()).await?.to_string()).boxed(),
        Task::Download => Zeros(1 << 30).boxed(),
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(response)
}

async fn length(mut body: Incoming) -> Result<usize, hyper::Error> {
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        length += frame?.data_ref().map_or(0, Bytes::len);
    }
    Ok(length)
}

/// So many bytes, in chunks of 64 KiB.
struct Zeros(u64);

impl Body for Zeros {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        static CHUNK: [u8; 1 << 16] = [0; 1 << 16];
        if self.0 == 0 {
            return Poll::Ready(None);
        }
        self.0 -= CHUNK.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&CHUNK)))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0)
    }
}
