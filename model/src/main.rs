//! `cargo xtask model`: explores, then breaks the machine and sees whether it is noticed.

use std::{collections::HashMap, process::ExitCode, time::Instant};

use clap::Parser;
use model::{
    explore::{Broken, explore, shortest},
    mutant::{self, ALL, Mutant},
    property::Property,
    setup::Setup,
    setups,
};

/// Explores every run of a small close through lastack's state machine.
#[derive(Debug, Parser)]
struct Arguments {
    /// Explores further: about an hour and several gigabytes of memory
    #[arg(long)]
    deep: bool,
    /// Explores only this one, and breaks nothing
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Shows the run by which each mutant is caught
    #[arg(long)]
    traces: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut setups = setups::all(arguments.deep);
    if let Some(name) = &arguments.only {
        setups.retain(|setup| setup.name == name);
        if setups.is_empty() {
            eprintln!("error: there is no exploration {name}");
            return ExitCode::FAILURE;
        }
    }
    let mut holds = explore_all(&setups);
    if arguments.only.is_none() {
        holds &= show_limits(arguments.traces);
        holds &= break_all(arguments.traces);
    }
    if holds {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn explore_all(setups: &[Setup]) -> bool {
    let started = Instant::now();
    let (mut states, mut stopped, mut holds) = (0, 0, true);
    println!("EXPLORED  states, steps, longest run, steps that drop, ends, seconds");
    for setup in setups {
        let since = Instant::now();
        let explored = explore(setup, &mutant::NONE);
        println!(
            "{:16}{:>11}{:>12}{:>5}{:>10}{:>4}{:>7.1}  {}",
            setup.name,
            explored.states,
            explored.steps,
            explored.depth,
            explored.drops,
            explored.outcomes.len(),
            since.elapsed().as_secs_f32(),
            setup.about,
        );
        println!("{:16}{}", "", bounds(setup));
        states += explored.states;
        if explored.stopped {
            println!("{:16}stopped: there are more states", "");
            stopped += 1;
        }
        if let Some(broken) = explored.broken {
            holds = false;
            println!("  BROKEN {}", broken.property.as_str());
            show(&broken);
        }
    }
    let seconds = started.elapsed().as_secs();
    println!(
        "{} explorations, {stopped} of them stopped, {states} states, {seconds} s: {}",
        setups.len(),
        if holds {
            "every property holds"
        } else {
            "BROKEN"
        }
    );
    holds
}

/// What may strike, and how often.
fn bounds(setup: &Setup) -> String {
    let left = &setup.limits;
    let limits = [
        (left.losses, "lost"),
        (left.copies, "copied"),
        (left.early, "repeated early"),
        (left.unasked, "unasked ACKs"),
        (left.unseen_server, "server's unseen"),
        (left.unseen_client, "client's unseen"),
        (left.ticks, "ticks"),
        (left.forgeries, "forged"),
        (left.evictions, "evictions"),
        (left.refusals, "refusals"),
        (left.server_aborts, "server's aborts"),
        (left.client_aborts, "client's aborts"),
        (left.reuses, "reuse"),
        (left.later, "more ACKs of it"),
    ];
    let struck = limits.into_iter().filter(|(count, _)| *count > 0);
    let struck = struck.map(|(count, what)| format!("{count} {what}"));
    let struck = struck.collect::<Vec<_>>().join(", ");
    format!(
        "at most {} on a link{}{struck}",
        setup.room,
        if struck.is_empty() { "" } else { "; " }
    )
}

/// Where a claim ends: a page that says so must stay true.
fn show_limits(traces: bool) -> bool {
    println!("\nNOT CLAIMED  where, what is broken there, in how many steps");
    let mut holds = true;
    for (setup, expected) in setups::limits() {
        let broken = shortest(&setup, &mutant::NONE);
        let property = broken.as_ref().map(|broken| broken.property);
        holds &= property == Some(expected);
        println!(
            "{:52}{} ({})",
            setup.name,
            property.map_or("HOLDS", Property::as_str),
            broken.as_ref().map_or(0, |broken| broken.trace.len() - 1)
        );
        if traces && let Some(broken) = &broken {
            show(broken);
        }
    }
    holds
}

fn break_all(traces: bool) -> bool {
    let setups: HashMap<_, _> = setups::all(false)
        .into_iter()
        .map(|setup| (setup.name, setup))
        .collect();
    let caught: Vec<_> = ALL
        .iter()
        .map(|mutant| (mutant, catch(mutant, &setups)))
        .collect();
    println!("\nMUTANTS  what is missing, what catches it, where, in how many steps");
    let mut survivors = 0;
    for (mutant, broken) in &caught {
        let Some(broken) = broken else {
            survivors += 1;
            println!("{:52}SURVIVES in {}", mutant.name, mutant.setup);
            continue;
        };
        println!(
            "{:52}{} ({}, {})",
            mutant.name,
            broken.property.as_str(),
            mutant.setup,
            broken.trace.len() - 1
        );
        if traces {
            show(broken);
        }
    }
    println!("{} mutants, {survivors} survive", caught.len());
    survivors == 0
}

fn catch(mutant: &Mutant, setups: &HashMap<&str, Setup>) -> Option<Broken> {
    shortest(setups.get(mutant.setup)?, mutant)
}

fn show(broken: &Broken) {
    for line in &broken.trace {
        println!("    {line}");
    }
}
