"""The token microscope without its screen: a run's training examples, read in a thread, seen one by one."""
