//! Writes the inputs that the committed corpus was grown from: `cargo run -p fuzz --example seeds
//! DIRECTORY`, a subdirectory for each target. `cargo fuzz cmin` makes them fewer.

use std::{env, fs, io, path::Path};

use fuzz::{TARGETS, seeds};

fn main() -> io::Result<()> {
    let Some(directory) = env::args_os().nth(1) else {
        return Err(io::Error::other("name a directory"));
    };
    for (target, _) in TARGETS {
        let directory = Path::new(&directory).join(target);
        fs::create_dir_all(&directory)?;
        let inputs = seeds::of(target);
        println!("{}: {} inputs", directory.display(), inputs.len());
        for (number, octets) in inputs.iter().enumerate() {
            fs::write(directory.join(format!("seed-{number:02}")), octets)?;
        }
    }
    Ok(())
}
