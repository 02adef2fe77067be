"""Host side: frontends, graph IR, passes, compiler, runtime, devices and the command line."""
