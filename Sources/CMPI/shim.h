// MPI, as the system has it: the module's only header. What MPI makes macros of addresses, which
// Swift does not import, are functions here.
#include <mpi.h>

static inline MPI_Comm cmpi_world(void) { return MPI_COMM_WORLD; }
static inline MPI_Datatype cmpi_byte(void) { return MPI_BYTE; }
static inline MPI_Datatype cmpi_float(void) { return MPI_FLOAT; }
static inline MPI_Request cmpi_no_request(void) { return MPI_REQUEST_NULL; }
static inline MPI_Status *cmpi_no_statuses(void) { return MPI_STATUSES_IGNORE; }
static inline int cmpi_serialized(void) { return MPI_THREAD_SERIALIZED; }
