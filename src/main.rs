//! The binary `kapu`: everything is in [`kapu::cli`].

fn main() -> std::process::ExitCode {
    kapu::cli::main()
}
