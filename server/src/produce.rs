//! `thalweg produce`: replays a CSV file into a Kafka topic.
//!
//! Promises: a missing topic is made; a row that is reported as sent is acknowledged by all
//! replicas; Ctrl-C waits for what is under way and prints the command that goes on from there.

use std::io::IsTerminal;
use std::time::{SystemTime, UNIX_EPOCH};

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use thalweg_connectors::kafka::cluster::Cluster;
use thalweg_connectors::kafka::replay::{Progress, Replay};

use crate::cli::ProduceArgs;
use crate::config::value::rate;
use crate::failure::Failure;
use crate::shutdown::Shutdown;

/// Runs the command.
pub(crate) async fn run(args: ProduceArgs) -> Result<(), Failure> {
    let shutdown = Shutdown::on_signals()?;
    // librdkafka's calls block.
    let work = tokio::task::spawn_blocking(move || replay(&args, &shutdown)).await;
    work.map_err(|panic| Failure::new(format!("the replay broke off: {panic}")))?
}

fn replay(args: &ProduceArgs, shutdown: &Shutdown) -> Result<(), Failure> {
    let replay = Replay {
        file: args.file.clone(),
        rate: rate(&args.rate).map_err(Failure::usage)?,
        key: args.key.clone(),
        lines_per_message: args.lines_per_message as usize,
        shift_time_to: args.shift_time.as_ref().map(|_| micros_now()),
        from_row: args.from_row,
    };
    if !args.file.is_file() {
        return Err(Failure::usage(format!("there is no file {}", args.file.display())));
    }
    if args.key.is_some() && args.lines_per_message > 1 {
        return Err(Failure::usage("--key and --lines-per-message do not go together: a message has one key"));
    }
    let cluster = Cluster::new(&args.brokers, &args.properties.iter().cloned().collect())?;
    if cluster.partitions(&args.topic)?.is_none() {
        cluster.create_topic(&args.topic, args.partitions as usize, &[])?;
        eprintln!("Made topic {} with {} partitions.", args.topic, args.partitions);
    }
    let bar = bar();
    let outcome = replay.run(&cluster, &args.topic, &mut |progress| {
        show(&bar, args.from_row, progress);
        !shutdown.requested()
    });
    bar.finish_and_clear();
    match outcome {
        Ok(outcome) => {
            let (rows, bytes) = (HumanCount(outcome.rows), HumanBytes(outcome.bytes));
            let seconds = bar.elapsed().as_secs_f64().max(0.001);
            let per_second = HumanCount((outcome.rows as f64 / seconds) as u64);
            eprintln!("{rows} rows ({bytes}) acknowledged by topic {}, {per_second} rows/s.", args.topic);
            if !outcome.complete {
                eprintln!("Stopped before row {}. To go on:\n\n  {}\n", outcome.row, again(args, outcome.row));
            }
            Ok(())
        }
        Err(interrupted) => {
            let failure = Failure::from(interrupted.error);
            Err(failure.hint(format!("To go on from what is acknowledged: {}", again(args, interrupted.row))))
        }
    }
}

/// The command that goes on at a row.
fn again(args: &ProduceArgs, row: u64) -> String {
    let mut line = format!("thalweg produce --brokers {} --topic {}", quoted(&args.brokers), quoted(&args.topic));
    line.push_str(&format!(" --file {} --rate {}", quoted(&args.file.display().to_string()), args.rate));
    if let Some(key) = &args.key {
        line.push_str(&format!(" --key {}", quoted(key)));
    }
    if args.lines_per_message > 1 {
        line.push_str(&format!(" --lines-per-message {}", args.lines_per_message));
    }
    if args.shift_time.is_some() {
        line.push_str(" --shift-time now");
    }
    for (name, _) in &args.properties {
        // A property may be a password: it is not repeated.
        line.push_str(&format!(" -X {}=...", quoted(name)));
    }
    line.push_str(&format!(" --from-row {row}"));
    line
}

/// The text as a shell takes it.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,@%+=".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_string()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

fn show(bar: &ProgressBar, from_row: u64, progress: &Progress) {
    let rows = progress.row.saturating_sub(from_row);
    let per_second = rows as f64 / bar.elapsed().as_secs_f64().max(0.001);
    bar.set_length(progress.file_size);
    bar.set_position(progress.file_read);
    let (rows, bytes) = (HumanCount(rows), HumanBytes(progress.bytes));
    bar.set_message(format!("{rows} rows  {bytes}  {} rows/s", HumanCount(per_second as u64)));
}

fn bar() -> ProgressBar {
    let terminal = std::io::stderr().is_terminal();
    let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(1), target);
    let style = ProgressStyle::with_template("{bar:30} {percent:>3} %  {msg}  ETA {eta}");
    // The template is a constant; were it wrong, indicatif's own would do.
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

fn micros_now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_to_go_on_can_be_pasted_and_tells_no_secret() {
        let args = ProduceArgs {
            brokers: "a:9092".into(),
            topic: "t".into(),
            file: "my file.csv".into(),
            rate: "10000/min".into(),
            key: Some("user_id".into()),
            lines_per_message: 1,
            partitions: 4,
            shift_time: None,
            from_row: 0,
            properties: vec![("sasl.password".into(), "geheim".into())],
        };
        assert_eq!(
            again(&args, 7),
            "thalweg produce --brokers a:9092 --topic t --file 'my file.csv' --rate 10000/min --key user_id \
             -X sasl.password=... --from-row 7"
        );
    }
}
