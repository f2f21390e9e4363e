//! `thalweg generate`: a CSV file of made-up e-commerce events, of the real data's shape.
//!
//! Promises: the same seed and rows give the same bytes on every machine; a file that is not
//! complete is not left under its name (it is written beside and renamed), and nothing that exists
//! is overwritten without `--force`.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use indicatif::{HumanBytes, HumanCount, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use thalweg_connectors::generator::{DEFAULT_START, write_csv};

use crate::cli::GenerateArgs;
use crate::failure::Failure;

/// Runs the command.
pub(crate) fn run(args: &GenerateArgs) -> Result<(), Failure> {
    if args.out == Path::new("-") {
        let bar = bar(args.rows, io::stderr().is_terminal());
        return match write(args, &mut io::stdout().lock(), &bar) {
            // Whoever reads has enough (`| head`).
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other.map_err(|error| Failure::new(format!("cannot write to standard output: {error}"))),
        };
    }
    if args.out.exists() && !args.force {
        let failure = Failure::usage(format!("{} exists already", args.out.display()));
        return Err(failure.hint("Use --force to overwrite it."));
    }
    let partial = beside(&args.out);
    let bar = bar(args.rows, io::stderr().is_terminal());
    let written = write_file(args, &partial, &bar);
    if let Err(error) = written {
        // What is left of it is of no use; that it cannot be removed is no news beside the cause.
        let _ = std::fs::remove_file(&partial);
        return Err(Failure::new(format!("cannot write {}: {error}", args.out.display())));
    }
    let bytes = std::fs::metadata(&args.out)?.len();
    bar.finish_and_clear();
    let elapsed = HumanDuration(bar.elapsed());
    eprintln!("{}: {} rows, {}, in {elapsed}", args.out.display(), HumanCount(args.rows), HumanBytes(bytes));
    Ok(())
}

fn write_file(args: &GenerateArgs, partial: &Path, bar: &ProgressBar) -> io::Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(partial)?);
    write(args, &mut file, bar)?;
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    std::fs::rename(partial, &args.out)
}

fn write(args: &GenerateArgs, out: &mut impl Write, bar: &ProgressBar) -> io::Result<()> {
    write_csv(args.seed, args.rows, DEFAULT_START, out, |rows, bytes| {
        bar.set_position(rows);
        bar.set_message(HumanBytes(bytes).to_string());
    })
}

fn beside(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".partial");
    PathBuf::from(name)
}

/// A progress bar over rows; the message is the bytes. Draws nothing where nobody looks.
pub(crate) fn bar(rows: u64, visible: bool) -> ProgressBar {
    let target = if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style = ProgressStyle::with_template("{bar:30} {percent:>3} %  {human_pos} rows  {msg}  {per_sec}  ETA {eta}");
    let bar = ProgressBar::with_draw_target(Some(rows), target);
    // The template is a constant; were it wrong, indicatif's own would do.
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(out: &Path, force: bool) -> GenerateArgs {
        GenerateArgs { rows: 1000, seed: 3, out: out.to_path_buf(), force }
    }

    #[test]
    fn the_same_seed_gives_the_same_file_and_no_file_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (dir.path().join("a.csv"), dir.path().join("b.csv"));
        run(&args(&first, false)).unwrap();
        run(&args(&second, false)).unwrap();
        let text = std::fs::read_to_string(&first).unwrap();
        assert_eq!(text, std::fs::read_to_string(&second).unwrap());
        assert_eq!(text.lines().count(), 1001);
        assert!(text.starts_with("event_time,event_type,"));
        assert_eq!(run(&args(&first, false)).unwrap_err().code, 2);
        run(&args(&first, true)).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "nothing partial is left");
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        assert_eq!(run(&args(Path::new("/no/such/folder/a.csv"), false)).unwrap_err().code, 1);
    }
}
