"""Running a bundle: the latent stream, one session, many members at once, and the contract that every runtime keeps."""
