//! `thalweg demo`: a server with a live stream and views over it, to be tried with psql.
//!
//! It is the server of `serve`, on a folder of its own, that makes a source and three views at its
//! first start and goes on where it stopped at the next. Promises: it deletes only what it made
//! itself and appends to no topic that it did not make. Does nothing that SQL could not do.

mod banner;
mod feed;
mod folder;
mod status;
mod views;

use std::sync::Arc;

use crate::cli::DemoArgs;
use crate::failure::Failure;
use crate::listener::Listener;
use crate::security::Security;
use crate::serve::{self, Server};
use crate::shutdown::Shutdown;
use folder::{Folder, Stream};

/// The rate unless said otherwise.
const DEFAULT_RATE: &str = "10000/min";

/// Runs the demo until it is asked to stop.
pub(crate) async fn run(args: DemoArgs) -> Result<(), Failure> {
    let shutdown = Shutdown::on_signals()?;
    let config = serve::configure(&args.settings, Some(&args.data_dir))?;
    let mut folder = Folder::open(&config.data_dir, args.fresh)?;
    let stream = stream(&args, folder.stream())?;
    let resumed = folder.stream().is_some();
    if let Some(broker) = &stream.kafka {
        let broker = broker.clone();
        let made = tokio::task::spawn_blocking(move || feed::prepare(&broker)).await;
        made.map_err(|panic| Failure::new(panic.to_string()))??;
    }
    folder.remember(&stream)?;
    let listener = match serve::bind(&config).await {
        Ok(listener) => listener,
        Err(taken) => {
            let any = std::net::SocketAddr::new(config.listen.ip(), 0);
            let listener = Listener::bind(any).await.map_err(|_| taken)?;
            println!("{} is taken; using port {}.", config.listen, listener.address.port());
            listener
        }
    };
    let security = Arc::new(Security::load(&config, listener.address.ip())?);
    let server = Server::start(config.clone(), listener, security, shutdown.clone()).await?;
    let feed = feed::start(&stream, &shutdown)?;
    let run = async {
        views::create(&server.database, &stream).await?;
        banner::print(server.address, &stream, &config.data_dir, resumed);
        status::show(&server.database, &shutdown).await;
        Ok::<(), Failure>(())
    };
    let outcome = tokio::select! {
        outcome = run => outcome,
        () = shutdown.wait() => Ok(()),
    };
    println!("Stopping: a last checkpoint (Ctrl-C again leaves at once) ...");
    shutdown.request();
    if let Some(feed) = feed {
        feed.join().map_err(|_| Failure::new("the producer of the demo broke off"))??;
    }
    let events = status::events(&server.database);
    server.stop().await?;
    outcome?;
    println!("Stopped after {} events, all in a checkpoint.", indicatif::HumanCount(events));
    println!("The same command goes on from there; --fresh starts over.");
    Ok(())
}

/// What streams: what the folder remembers, which flags may not contradict.
fn stream(args: &DemoArgs, remembered: Option<&Stream>) -> Result<Stream, Failure> {
    let Some(remembered) = remembered else {
        let rate = args.rate.clone().unwrap_or_else(|| DEFAULT_RATE.to_string());
        return Ok(Stream { rate, kafka: args.kafka.clone() });
    };
    let other_rate = args.rate.as_ref().is_some_and(|rate| *rate != remembered.rate);
    let other_broker = args.kafka != remembered.kafka;
    if other_rate || other_broker {
        let failure = Failure::usage(format!("the demo in {} was made with {}", args.data_dir, remembered.flags()));
        return Err(failure.hint("Leave the flags as they were, add --fresh, or name another --data-dir."));
    }
    Ok(remembered.clone())
}
