#[cfg(test)]
mod store;
