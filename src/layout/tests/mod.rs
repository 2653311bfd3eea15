mod files;
mod plans;
mod world;
