#include <onnxruntime_c_api.h>

/* The lowest version of the interface that has all that is called. */
static const unsigned SAMCLIP_ORT_API_VERSION = 17;
