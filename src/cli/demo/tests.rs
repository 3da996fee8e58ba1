//! Arguments, the shipped configuration, the count of the file.

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    demo: DemoArguments,
}

fn parse(line: &str) -> Result<f64, String> {
    let series = Series::shipped().unwrap();
    match Command::try_parse_from(line.split(' ')) {
        Ok(command) => Ok(command.demo.speedup(&series)),
        Err(error) => Err(error.to_string().lines().next().unwrap_or_default().to_owned()),
    }
}

#[test]
fn the_speed_is_given_in_one_of_two_ways() {
    assert_eq!(parse("demo"), Ok(86_400.0));
    assert_eq!(parse("demo --speedup 1e6"), Ok(1e6));
    assert_eq!(parse("demo --duration 60"), Ok(113_475.0));
    for line in
        ["demo --speedup 0", "demo --duration -1", "demo --duration inf", "demo --speedup 1 --duration 1"]
    {
        assert!(parse(line).is_err(), "{line}");
    }
}

#[test]
fn the_configuration_is_good_wherever_the_folder_is() {
    let dir = tempfile::tempdir().unwrap();
    let (config, warnings) = config::from_text(CONFIG_NAME, CONFIG, dir.path()).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    assert!(config.listeners.iter().flat_map(|listener| &listener.bind).all(|addr| addr.ip().is_loopback()));
    assert!(config.gateway.data_dir.starts_with(dir.path()));
}

#[test]
fn rows_missing_in_the_file_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(RESULTS_NAME);
    fs::write(&path, "{}\n{}\n").unwrap();
    assert_eq!(undelivered(&path, 2).unwrap(), None);
    assert_eq!(undelivered(&path, 3).unwrap().as_deref(), Some("results.ndjson: 2 of 3 rows are there"));
}
