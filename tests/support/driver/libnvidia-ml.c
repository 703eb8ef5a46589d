// NVML without a GPU, as far as appliance/gpu.py asks it: the names, signatures and codes are nvml.h's own. What the card
// is like comes from the environment: NVML_DRIVER, NVML_CARDS, NVML_CAPABILITY (89), NVML_REASONS; NVML_FAILS names a
// function that answers NVML_ERROR_NOT_SUPPORTED.
#include <stdlib.h>
#include <string.h>

typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned gpu, memory; } Utilization;

enum { SUCCESS = 0, NOT_SUPPORTED = 3 };

static const char *said(const char *name, const char *otherwise) {
    const char *value = getenv(name);
    return value ? value : otherwise;
}

#define FAILS if (!strcmp(said("NVML_FAILS", ""), __func__)) return NOT_SUPPORTED

int nvmlInitWithFlags(unsigned flags) { (void)flags; FAILS; return SUCCESS; }
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int error) { return error == NOT_SUPPORTED ? "Not Supported" : "Unknown Error"; }
int nvmlSystemGetDriverVersion(char *text, unsigned length) {
    FAILS;
    strncpy(text, said("NVML_DRIVER", "580.95.05"), length);
    return SUCCESS;
}
int nvmlDeviceGetCount_v2(unsigned *count) { FAILS; *count = atoi(said("NVML_CARDS", "1")); return SUCCESS; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) { FAILS; (void)index; *device = device; return SUCCESS; }
int nvmlDeviceGetName(void *device, char *text, unsigned length) {
    FAILS;
    (void)device;
    strncpy(text, "NVIDIA GeForce RTX 4090", length);
    return SUCCESS;
}
int nvmlDeviceGetCudaComputeCapability(void *device, int *major, int *minor) {
    FAILS;
    (void)device;
    const int both = atoi(said("NVML_CAPABILITY", "89"));
    *major = both / 10, *minor = both % 10;
    return SUCCESS;
}
int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *celsius) {
    FAILS;
    (void)device;
    *celsius = sensor == 0 ? 54 : 0; // NVML_TEMPERATURE_GPU
    return SUCCESS;
}
int nvmlDeviceGetMemoryInfo(void *device, Memory *memory) {
    FAILS;
    (void)device;
    *memory = (Memory){.total = 25757220864ull, .free = 22657220864ull, .used = 3100000000ull};
    return SUCCESS;
}
int nvmlDeviceGetUtilizationRates(void *device, Utilization *rates) {
    FAILS;
    (void)device;
    *rates = (Utilization){.gpu = 12, .memory = 3};
    return SUCCESS;
}
int nvmlDeviceGetCurrentClocksEventReasons(void *device, unsigned long long *reasons) {
    FAILS;
    (void)device;
    *reasons = strtoull(said("NVML_REASONS", "0"), NULL, 0);
    return SUCCESS;
}
int nvmlDeviceGetTotalEccErrors(void *device, int type, int counter, unsigned long long *count) {
    FAILS;
    (void)device;
    *count = type == 1 && counter == 0 ? 2 : 99; // uncorrected, since the driver was loaded
    return SUCCESS;
}
