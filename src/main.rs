//! Picks the program by subcommand or by the name it was started under, and wires it.

fn main() -> std::process::ExitCode {
    leveret::cli::main(std::env::args_os())
}
