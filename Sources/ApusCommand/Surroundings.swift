// What a process does before all else so that a world that fails around it ends no run.

import Foundation

/// The streams and signals that every command wants.
enum Surroundings {
  static func prepare() {
    // A reader that goes away (`apus dump … | head`), and a file that would become larger than the user's
    // limit, are errors of writing and no deaths.
    signal(SIGPIPE, SIG_IGN)
    signal(SIGXFSZ, SIG_IGN)
    // A file that is opened gets the least number that is free: without a standard stream of that number,
    // what is meant for people would be written into weights. Opened for reading, so that writing to a
    // stream that was closed stays an error.
    for stream in [STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO]
    where fcntl(stream, F_GETFD) == -1 && errno == EBADF {
      let descriptor = open("/dev/null", O_RDONLY)
      if descriptor >= 0 && descriptor != stream {
        dup2(descriptor, stream)
        close(descriptor)
      }
    }
  }
}
