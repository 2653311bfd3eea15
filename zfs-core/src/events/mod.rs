//! What happens to pools and devices, as the kernel tells it.
