//! Command lines: which program was asked for, and with what configuration.
//!
//! `leveret` has subcommands; started under the name of an NSQ program it is that program, with that program's flags.

mod compare;
mod config_file;
mod export;
mod generate;
pub mod goflags;
mod nsqadmin;
pub mod nsqd;
mod nsqlookupd;
mod password;
mod plan;
mod routes;
mod top;
mod utilities;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::{self, LogFormat, NodeConfig, SchemaOf, process_env};
use crate::node::{self, AdminPlan, LookupdPlan, Plan};
use crate::tools::bench;
use goflags::{Flag, Given};

/// Exit code of a configuration that cannot be used.
const EXIT_CONFIG: u8 = 2;
/// The node file that is used if none is named.
const DEFAULT_CONFIG: &str = "config/leveret.yaml";

/// NSQ on the outside and, where you ask for it, RabbitMQ on the inside.
#[derive(Debug, Parser)]
#[command(name = "leveret", version, max_term_width = 100)]
struct Leveret {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node (the default)
    Serve(Serve),
    /// Read the configuration and say what it comes to, without starting anything
    Check {
        /// The node's file
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Compare what the routes declare with what is on their brokers, and change nothing
    Plan(plan::Args),
    /// Make what the routes declare on their brokers
    Apply(plan::Args),
    /// Say what two places have of the same messages: what is missing, extra or double
    Compare(Box<compare::Args>),
    /// Look at and change the routes that nodes share through etcd
    Routes(Box<routes::Args>),
    /// Watch the topics, channels and routes of nodes, live
    Top(top::Args),
    /// Print completions for a shell
    Completions(generate::Completions),
    /// Write man pages into a folder
    Man(generate::Man),
    /// Print the JSON Schema of a configuration file, for editors
    Schema {
        /// Which file
        #[arg(value_name = "FILE")]
        of: SchemaFile,
    },
    /// Run as nsqd, with nsqd's flags
    #[command(disable_help_flag = true)]
    Nsqd {
        /// nsqd's flags; --help lists them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        flags: Vec<String>,
    },
    /// Run as nsqlookupd, with nsqlookupd's flags
    #[command(disable_help_flag = true)]
    Nsqlookupd {
        /// nsqlookupd's flags; --help lists them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        flags: Vec<String>,
    },
    /// Run as nsqadmin, with nsqadmin's flags
    #[command(disable_help_flag = true)]
    Nsqadmin {
        /// nsqadmin's flags; --help lists them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        flags: Vec<String>,
    },
    /// Make the hash of a password, for the users of `admin`
    Password,
    /// Show the figures of one channel over all nsqds, with nsq_stat's flags
    #[command(name = "nsq_stat", disable_help_flag = true)]
    NsqStat(UtilityArgs),
    /// Write messages of topics to the standard output, with nsq_tail's flags
    #[command(name = "nsq_tail", disable_help_flag = true)]
    NsqTail(UtilityArgs),
    /// Write topics to files, with nsq_to_file's flags
    #[command(name = "nsq_to_file", disable_help_flag = true)]
    NsqToFile(UtilityArgs),
    /// Hand the messages of a topic to HTTP servers, with nsq_to_http's flags
    #[command(name = "nsq_to_http", disable_help_flag = true)]
    NsqToHttp(UtilityArgs),
    /// Publish the messages of topics again on other nsqds, with nsq_to_nsq's flags
    #[command(name = "nsq_to_nsq", disable_help_flag = true)]
    NsqToNsq(UtilityArgs),
    /// Publish the standard input, with to_nsq's flags
    #[command(name = "to_nsq", disable_help_flag = true)]
    ToNsq(UtilityArgs),
    /// Write what a stopped node owes into a data folder that nsqd opens
    Export(export::Args),
    /// Measure an NSQ server or a bridge
    Bench(bench::Args),
}

#[derive(Args, Clone, Debug)]
struct UtilityArgs {
    /// Its flags; --help lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    flags: Vec<String>,
}

#[derive(Args, Clone, Debug, Default)]
struct Serve {
    /// The node's file [default: config/leveret.yaml, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where NSQ clients connect; overrides nsqd.tcp_address
    #[arg(long, value_name = "HOST:PORT")]
    tcp_address: Option<String>,
    /// Where the HTTP API is; overrides nsqd.http_address
    #[arg(long, value_name = "HOST:PORT")]
    http_address: Option<String>,
    /// Where messages outlive a restart; overrides nsqd.data_path
    #[arg(long, value_name = "DIR")]
    data_path: Option<PathBuf>,
    /// trace, debug, info, warn, error, or directives such as info,leveret::bridge=debug; overrides log.level
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// text or json; overrides log.format
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<Format>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum SchemaFile {
    /// The node's file
    Node,
    /// A file of routes
    Routes,
}

/// Runs the program that `args` ask for; the first one is the name that it was started under.
#[must_use]
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.collect();
    let name = args.first().map(Path::new).and_then(Path::file_name).unwrap_or_default();
    let flags =
        || args.iter().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect::<Vec<_>>();
    match name.to_str() {
        Some("nsqd") => return run_nsqd(&flags()),
        Some("nsqlookupd") => return run_nsqlookupd(&flags()),
        Some("nsqadmin") => return run_nsqadmin(&flags()),
        Some(name) => {
            if let Some(utility) = utilities::find(name) {
                return utility.main(&flags());
            }
        }
        None => {}
    }
    // clap prints help, versions and errors itself, and leaves with 0 or 2.
    let leveret = Leveret::parse_from(args);
    match leveret.command {
        None => run_serve(leveret.serve),
        Some(Command::Serve(serve)) => run_serve(serve),
        Some(Command::Check { config }) => run_check(config),
        Some(Command::Plan(args)) => plan::run(args, false),
        Some(Command::Apply(args)) => plan::run(args, true),
        Some(Command::Compare(args)) => compare::run(*args),
        Some(Command::Routes(args)) => routes::run(*args),
        Some(Command::Top(args)) => top::run(args),
        Some(Command::Completions(completions)) => completions.print(),
        Some(Command::Man(man)) => man.write(),
        Some(Command::Schema { of }) => run_schema(of),
        Some(Command::NsqStat(args)) => run_utility("nsq_stat", &args),
        Some(Command::NsqTail(args)) => run_utility("nsq_tail", &args),
        Some(Command::NsqToFile(args)) => run_utility("nsq_to_file", &args),
        Some(Command::NsqToHttp(args)) => run_utility("nsq_to_http", &args),
        Some(Command::NsqToNsq(args)) => run_utility("nsq_to_nsq", &args),
        Some(Command::ToNsq(args)) => run_utility("to_nsq", &args),
        Some(Command::Nsqd { flags }) => run_nsqd(&flags),
        Some(Command::Nsqlookupd { flags }) => run_nsqlookupd(&flags),
        Some(Command::Nsqadmin { flags }) => run_nsqadmin(&flags),
        Some(Command::Password) => password::run(),
        Some(Command::Export(args)) => run_export(&args),
        Some(Command::Bench(args)) => bench::main(args),
    }
}

fn load(path: Option<PathBuf>) -> Result<config::Loaded, ExitCode> {
    let path = match path {
        Some(path) => path,
        None if Path::new(DEFAULT_CONFIG).exists() => PathBuf::from(DEFAULT_CONFIG),
        // Without a file a node runs the native engine alone.
        None => {
            let node = NodeConfig::default();
            return Ok(config::Loaded { node, routes: Vec::new(), warnings: Vec::new() });
        }
    };
    config::load(&path, &process_env).map_err(|errors| {
        say_error(&errors.to_string());
        ExitCode::from(EXIT_CONFIG)
    })
}

fn run_check(path: Option<PathBuf>) -> ExitCode {
    match load(path) {
        Ok(loaded) => {
            say(&config::describe(&loaded));
            ExitCode::SUCCESS
        }
        Err(code) => code,
    }
}

fn run_schema(of: SchemaFile) -> ExitCode {
    say(&config::schema(match of {
        SchemaFile::Node => SchemaOf::Node,
        SchemaFile::Routes => SchemaOf::Routes,
    }));
    ExitCode::SUCCESS
}

fn run_serve(serve: Serve) -> ExitCode {
    let loaded = match load(serve.config) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let mut config = loaded.node;
    if let Some(address) = serve.tcp_address {
        config.nsqd.tcp_address = address;
    }
    if let Some(address) = serve.http_address {
        config.nsqd.http_address = (!address.is_empty()).then_some(address);
    }
    if serve.data_path.is_some() {
        config.nsqd.data_path = serve.data_path;
    }
    match serve.log_format {
        Some(Format::Text) => config.log.format = LogFormat::Text,
        Some(Format::Json) => config.log.format = LogFormat::Json,
        None => {}
    }
    let notes = loaded.warnings.iter().map(ToString::to_string).collect();
    run(Plan {
        config,
        routes: loaded.routes,
        log_level: serve.log_level,
        makes_data_path: true,
        notes,
        given: BTreeMap::new(),
    })
}

fn run_export(args: &export::Args) -> ExitCode {
    match export::run(args) {
        Ok(report) => {
            say(&report);
            ExitCode::SUCCESS
        }
        Err(error) => {
            say_error(&format!("leveret: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run_utility(name: &str, args: &UtilityArgs) -> ExitCode {
    // Each subcommand of this kind has its utility.
    utilities::find(name).map_or(ExitCode::FAILURE, |utility| utility.main(&args.flags))
}

fn run_nsqd(flags: &[String]) -> ExitCode {
    let (given, mut notes) = match read_flags("nsqd", nsqd::FLAGS, flags) {
        Ok(read) => read,
        Err(code) => return code,
    };
    let ended = match nsqd::configure(&given) {
        Ok((config, idle)) => {
            notes.extend(idle);
            node::run(Plan {
                config,
                routes: Vec::new(),
                log_level: None,
                makes_data_path: false,
                notes,
                given: nsqd::options(&given),
            })
            .map_err(|error| error.to_string())
        }
        Err(error) => Err(error.to_string()),
    };
    end_as("nsqd", ended)
}

fn run_nsqlookupd(flags: &[String]) -> ExitCode {
    let (given, notes) = match read_flags("nsqlookupd", nsqlookupd::FLAGS, flags) {
        Ok(read) => read,
        Err(code) => return code,
    };
    let ended = match nsqlookupd::configure(&given) {
        Ok(plan) => node::run_lookupd(&LookupdPlan { notes, ..plan }).map_err(|e| e.to_string()),
        Err(error) => Err(error.to_string()),
    };
    end_as("nsqlookupd", ended)
}

fn run_nsqadmin(flags: &[String]) -> ExitCode {
    let (given, notes) = match read_flags("nsqadmin", nsqadmin::FLAGS, flags) {
        Ok(read) => read,
        Err(code) => return code,
    };
    match nsqadmin::configure(&given) {
        Ok(plan) => {
            let ended = node::run_admin(AdminPlan { notes, ..plan });
            end_as("nsqadmin", ended.map_err(|error| error.to_string()))
        }
        Err(error) => fail_as("nsqadmin", "FATAL", &error.to_string()),
    }
}

/// Reads the flags of an NSQ daemon, and its config file if one is given; with what is to be said of that. Otherwise all is
/// said, and this is how to leave.
fn read_flags(
    program: &str,
    flags: &[Flag],
    args: &[String],
) -> Result<(Given, Vec<String>), ExitCode> {
    let mut given = match goflags::parse(flags, args) {
        Ok(given) => given,
        Err(error) => {
            let usage = goflags::usage(program, flags);
            let is_help = error == goflags::FlagError::Help;
            say_error(&if is_help { usage } else { format!("{error}\n{usage}") });
            return Err(if is_help { ExitCode::SUCCESS } else { ExitCode::from(EXIT_CONFIG) });
        }
    };
    if given.bool("version") == Some(true) {
        say(&format!("{program} v1.3.0 (built w/leveret {})", env!("CARGO_PKG_VERSION")));
        return Err(ExitCode::SUCCESS);
    }
    let mut notes = Vec::new();
    if let Some(path) = given.text("config").filter(|path| !path.is_empty()).map(str::to_owned) {
        match config_file::read(flags, &mut given, &path) {
            Ok(unknown) => {
                let note =
                    |key| format!("{path}: \"{key}\" is not an option of {program}, and ignored");
                notes.extend(unknown.into_iter().map(note));
            }
            Err(error) => {
                let level = if error.is_coercion() { "ERROR" } else { "FATAL" };
                return Err(fail_as(program, level, &error.to_string()));
            }
        }
    }
    Ok((given, notes))
}

fn end_as(program: &str, ended: Result<(), String>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            fail_as(program, "FATAL", &format!("failed to instantiate {program} - {error}"))
        }
    }
}

/// Says why an NSQ daemon does not run, as a line of its log: nothing else is set up to write it.
fn fail_as(program: &str, level: &str, text: &str) -> ExitCode {
    say_error(&node::log_line(&format!("[{program}] "), level, text));
    ExitCode::FAILURE
}

fn run(plan: Plan) -> ExitCode {
    match node::run(plan) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say_error(&format!("leveret: {error}"));
            ExitCode::from(if error.is_configuration() { EXIT_CONFIG } else { 1 })
        }
    }
}

#[allow(clippy::print_stdout, reason = "what a command prints is its result")]
fn say(text: &str) {
    println!("{}", text.trim_end());
}

#[allow(clippy::print_stderr, reason = "nothing else listens before the logs are set up")]
fn say_error(text: &str) {
    eprintln!("{}", text.trim_end());
}
