"""Runs definitions: SDK workers on a thread beside the kernel's, made anew when definitions change."""
