//! The environment variables of the process.

/// Returns the environment variables. Variables that are not UTF-8 are left out.
pub(crate) fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// Returns the value of an environment variable, if it is set and UTF-8.
pub(crate) fn variable(name: &str) -> Option<String> {
    environment().find(|(known, _)| known == name).map(|(_, value)| value)
}
