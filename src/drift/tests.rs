//! Simulations: how often nothing is mistaken for something, and how soon something is noticed.

mod house;
mod promise;
mod shifts;
mod state;
mod topics;
