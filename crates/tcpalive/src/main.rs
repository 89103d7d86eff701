//! The `tcpalive` command.
fn main() -> std::process::ExitCode {
    tcpalive::cli::main()
}
