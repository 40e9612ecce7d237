//! The linear head: multinomial logistic regression.
