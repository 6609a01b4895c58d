//! The program `egtp-sim`: storms over small worlds, from one seed or from many.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::Parser;
use egtp_sim::diagram;
use egtp_sim::scenario::Scenario;
use egtp_sim::storm::{ImpossibleSetting, Recording, Settings, Total, record, record_scenario, sweep};
use indicatif::{ProgressBar, ProgressStyle};

/// Let everything go wrong in a simulated network, and check that every promise holds all the same
///
/// The last line says what came of it. Exit code 0: all promises were kept. 1: one was broken; standard error says which, and
/// how to see it again. 2: the settings are impossible, or a file cannot be written.
#[derive(Debug, Parser)]
#[command(name = "egtp-sim", version)]
struct Arguments {
    /// Everything follows from this number
    #[arg(long, value_name = "N", required_unless_present = "script", default_value_t = 0, hide_default_value = true)]
    seed: u64,
    /// How many seeds to run, from that one upwards
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    seeds: u64,
    /// How many nodes there are, 2 to 1000 [default: 3 to 5, drawn]
    #[arg(long, value_name = "N")]
    nodes: Option<usize>,
    /// For how many simulated hours things go wrong [default: until forty things have happened]
    #[arg(long, value_name = "H", allow_negative_numbers = true)]
    hours: Option<f64>,
    /// Let packets vanish as well, from connections that live on
    #[arg(long)]
    losses: bool,
    /// Play this script instead of a seed; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seed", "seeds", "nodes", "hours", "losses"])]
    script: Option<PathBuf>,
    /// Print what happened, line by line; for one seed or a script only
    #[arg(long)]
    trace: bool,
    /// Draw what happened as a sequence diagram into this file; for one seed or a script only
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// So many broken seeds are reported in full; of the others, the numbers.
const REPORTED: usize = 5;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(1),
        Err(trouble) => {
            eprintln!("egtp-sim: {trouble}");
            ExitCode::from(2)
        }
    }
}

/// Gives back how many promises were broken, or what is wrong with the settings.
fn run(arguments: &Arguments) -> Result<u64, String> {
    match &arguments.script {
        Some(path) => run_script(arguments, path),
        None => run_seeds(arguments),
    }
}

fn run_script(arguments: &Arguments, path: &Path) -> Result<u64, String> {
    let text = if path == Path::new("-") { io::read_to_string(io::stdin()) } else { std::fs::read_to_string(path) };
    let text = text.map_err(|error| format!("--script: {} cannot be read: {error}", path.display()))?;
    let scenario: Scenario =
        text.parse().map_err(|error| format!("--script: {}: {error}. Nothing was played.", path.display()))?;
    let recording = record_scenario(&scenario);
    show(arguments, &recording)?;
    for line in recording.broken() {
        eprintln!("{line}");
    }
    let total = Total::of(&recording.outcome);
    print(&(last_line(&total) + "\n"))?;
    Ok(total.violations)
}

fn run_seeds(arguments: &Arguments) -> Result<u64, String> {
    let settings = settings(arguments)?;
    let end = arguments.seed.checked_add(arguments.seeds).filter(|_| arguments.seeds > 0);
    let end = end.ok_or("--seeds must be at least 1, and --seed and --seeds together below 2^64. Nothing was run.")?;
    if arguments.trace || arguments.svg.is_some() {
        let setting = if arguments.trace { "--trace" } else { "--svg" };
        if arguments.seeds != 1 {
            return Err(format!("{setting} shows one seed, and --seeds is {}. Nothing was run.", arguments.seeds));
        }
        show(arguments, &record(arguments.seed, &settings))?;
    }
    let bar = progress_bar(arguments.seeds);
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let total = sweep(arguments.seed..end, &settings, threads, || bar.inc(1));
    bar.finish_and_clear();
    report(&total, &settings);
    eprintln!("{} hours were simulated", total.simulated.as_secs() / 3600);
    print(&(last_line(&total) + "\n"))?;
    Ok(total.violations)
}

fn settings(arguments: &Arguments) -> Result<Settings, String> {
    let refused = |setting, why: ImpossibleSetting| format!("{setting} is impossible: {why}. Nothing was run.");
    let mut settings = Settings::default();
    if let Some(nodes) = arguments.nodes {
        settings = settings.nodes(nodes).map_err(|why| refused("--nodes", why))?;
    }
    if let Some(hours) = arguments.hours {
        let time =
            Duration::try_from_secs_f64(hours * 3600.0).map_err(|_| refused("--hours", ImpossibleSetting::Time))?;
        settings = settings.lasting(time).map_err(|why| refused("--hours", why))?;
    }
    if arguments.losses {
        settings = settings.losing();
    }
    Ok(settings)
}

fn show(arguments: &Arguments, recording: &Recording) -> Result<(), String> {
    if arguments.trace {
        let names = recording.names();
        let mut text = recording.scenario.setting() + "\n";
        for entry in &recording.transcript {
            let _never = writeln!(text, "{}", names.line(entry));
        }
        print(&text)?;
    }
    if let Some(path) = &arguments.svg {
        std::fs::write(path, diagram::svg(recording))
            .map_err(|error| format!("--svg: {} cannot be written: {error}", path.display()))?;
    }
    Ok(())
}

/// Draws on a terminal only.
fn progress_bar(seeds: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len} seeds, {eta} left");
    ProgressBar::new(seeds).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn report(total: &Total, settings: &Settings) {
    // Looking for a smaller case may make the same panic again and again; the report says which.
    std::panic::set_hook(Box::new(|_| {}));
    for &seed in total.failed.iter().take(REPORTED) {
        eprintln!("{}", record(seed, settings).report());
    }
    for seed in total.failed.iter().skip(REPORTED) {
        eprintln!("seed {seed}: a promise was broken as well");
    }
}

fn last_line(total: &Total) -> String {
    let Total { seeds, queries, verdicts, violations, .. } = total;
    let mut digest = String::new();
    for byte in total.digest {
        let _never = write!(digest, "{byte:02x}");
    }
    format!("digest: {digest}  seeds: {seeds}  queries: {queries}  verdicts: {verdicts}  violations: {violations}")
}

/// Whoever stops reading, as `head` does, has read enough.
fn print(text: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("standard output cannot be written: {error}"))
        }
        _ => Ok(()),
    }
}
