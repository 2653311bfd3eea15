//! Layouts: plan and apply, and what a killed apply leaves.
