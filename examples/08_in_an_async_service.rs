//! Serves HTTP from a cluster: awaits futures, refuses with 503 when the queue is full, cancels what nobody waits for.

use std::{error::Error, net::SocketAddr, time::Duration};

use allotment::{Cluster, Snapshot, task_context};
use axum::extract::{Path, State};
use axum::{Router, http::StatusCode, routing::get};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Works for so many steps of a millisecond, or until nobody wants the answer any more.
async fn work(State(cluster): State<Cluster>, Path(steps): Path<u64>) -> Result<String, StatusCode> {
    let wanted = || !task_context().is_some_and(|context| context.is_cancelled());
    let step = move |_: &u64| (std::thread::sleep(Duration::from_millis(1)), wanted()).1;
    // Never blocks the async thread: a full queue gives the work back at once.
    let future = cluster.try_submit(move || (0..steps).take_while(step).count());
    // When the client hangs up, axum drops this function at the `.await`; that drops the future, which cancels the task.
    let done = future.map_err(|_full| StatusCode::SERVICE_UNAVAILABLE)?.await;
    done.map(|steps| format!("{steps} steps")).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    // One lane and room for one more task, so that it is soon full.
    let cluster = Cluster::builder().workers(1).allowance("64MiB".parse()?).queue_limit(1).build()?;
    let routes = Router::new().route("/work/{steps}", get(work)).with_state(cluster.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, routes).await });

    println!("while it is idle: {}", ask(address, 5).await?);
    // Two clients ask for an hour of work: one task runs, one waits.
    let first = tokio::spawn(ask(address, 3_600_000));
    until(&cluster, |now| now.ended == 1 && now.workers[0].running.len() == 1).await;
    let second = tokio::spawn(ask(address, 3_600_000));
    until(&cluster, |now| now.queued == 1).await;
    println!("while it is full: {}", ask(address, 5).await?);
    // Both hang up: what waits never starts, what runs is told to stop.
    [first, second].iter().for_each(|client| client.abort());
    until(&cluster, |now| now.cancelled == 2 && now.workers[0].running.is_empty()).await;
    println!("after both hung up: {}", ask(address, 5).await?);
    Ok(())
}

/// Sends a request and returns the first line of the answer and the last.
async fn ask(address: SocketAddr, steps: u64) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /work/{steps} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok([text.lines().next(), text.lines().last()].map(Option::unwrap_or_default).join(" ").trim().into())
}

async fn until(cluster: &Cluster, there: impl Fn(&Snapshot) -> bool) {
    while !there(&cluster.snapshot()) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
