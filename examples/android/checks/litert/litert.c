/* LiteRT's C library below LiteRT.kt. It comes without headers: what is declared here is of litert/c in
 * google-ai-edge/LiteRT. */
#include <jni.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST 8 /* inputs, outputs and axes */

typedef struct LiteRtEnvironmentT *LiteRtEnvironment;
typedef struct LiteRtModelT *LiteRtModel;
typedef struct LiteRtOptionsT *LiteRtOptions;
typedef struct LiteRtOpaqueOptionsT *LiteRtOpaqueOptions;
typedef struct LiteRtCompiledModelT *LiteRtCompiledModel;
typedef struct LiteRtSignatureT *LiteRtSignature;
typedef struct LiteRtTensorT *LiteRtTensor;
typedef struct LiteRtTensorBufferT *LiteRtTensorBuffer;
typedef struct LiteRtTensorBufferRequirementsT *LiteRtTensorBufferRequirements;
typedef int LiteRtStatus; /* 0 is success */
typedef size_t LiteRtParamIndex;
typedef struct {
    int element_type;
    struct {
        unsigned int rank : 7, has_strides : 1;
        int32_t dimensions[MOST];
        uint32_t strides[MOST];
    } layout;
} LiteRtRankedTensorType;

enum { CPU = 1, LOCK_READ = 0, LOCK_WRITE = 1 };

LiteRtStatus LiteRtCreateEnvironment(int, const void *, LiteRtEnvironment *);
LiteRtStatus LiteRtCreateModelFromFile(LiteRtEnvironment, const char *, LiteRtModel *);
void LiteRtDestroyModel(LiteRtModel);
LiteRtStatus LiteRtGetNumModelSignatures(LiteRtModel, LiteRtParamIndex *);
LiteRtStatus LiteRtGetModelSignature(LiteRtModel, LiteRtParamIndex, LiteRtSignature *);
LiteRtStatus LiteRtGetSignatureKey(LiteRtSignature, const char **);
LiteRtStatus LiteRtGetNumSignatureInputs(LiteRtSignature, LiteRtParamIndex *);
LiteRtStatus LiteRtGetNumSignatureOutputs(LiteRtSignature, LiteRtParamIndex *);
LiteRtStatus LiteRtGetSignatureInputName(LiteRtSignature, LiteRtParamIndex, const char **);
LiteRtStatus LiteRtGetSignatureOutputName(LiteRtSignature, LiteRtParamIndex, const char **);
LiteRtStatus LiteRtGetSignatureInputTensorByIndex(LiteRtSignature, LiteRtParamIndex, LiteRtTensor *);
LiteRtStatus LiteRtGetSignatureOutputTensorByIndex(LiteRtSignature, LiteRtParamIndex, LiteRtTensor *);
LiteRtStatus LiteRtGetRankedTensorType(LiteRtTensor, LiteRtRankedTensorType *);
LiteRtStatus LiteRtCreateOptions(LiteRtOptions *);
void LiteRtDestroyOptions(LiteRtOptions);
LiteRtStatus LiteRtSetOptionsHardwareAccelerators(LiteRtOptions, int);
LiteRtStatus LiteRtCreateOpaqueOptions(const char *, void *, void (*)(void *), LiteRtOpaqueOptions *);
LiteRtStatus LiteRtAddOpaqueOptions(LiteRtOptions, LiteRtOpaqueOptions);
LiteRtStatus LiteRtCreateCompiledModel(LiteRtEnvironment, LiteRtModel, LiteRtOptions, LiteRtCompiledModel *);
void LiteRtDestroyCompiledModel(LiteRtCompiledModel);
LiteRtStatus LiteRtGetCompiledModelInputBufferRequirements(LiteRtCompiledModel, LiteRtParamIndex, LiteRtParamIndex,
                                                           LiteRtTensorBufferRequirements *);
LiteRtStatus LiteRtGetCompiledModelOutputBufferRequirements(LiteRtCompiledModel, LiteRtParamIndex, LiteRtParamIndex,
                                                            LiteRtTensorBufferRequirements *);
LiteRtStatus LiteRtCreateManagedTensorBufferFromRequirements(LiteRtEnvironment, const LiteRtRankedTensorType *,
                                                             LiteRtTensorBufferRequirements, LiteRtTensorBuffer *);
void LiteRtDestroyTensorBuffer(LiteRtTensorBuffer);
LiteRtStatus LiteRtGetTensorBufferPackedSize(LiteRtTensorBuffer, size_t *);
LiteRtStatus LiteRtLockTensorBuffer(LiteRtTensorBuffer, void **, int);
LiteRtStatus LiteRtUnlockTensorBuffer(LiteRtTensorBuffer);
LiteRtStatus LiteRtRunCompiledModel(LiteRtCompiledModel, LiteRtParamIndex, size_t, LiteRtTensorBuffer *, size_t,
                                    LiteRtTensorBuffer *);

#define NAMED(name) JNICALL Java_com_google_ai_edge_litert_Native_##name

typedef struct {
    LiteRtModel model;
    LiteRtCompiledModel compiled;
} Opened;

static LiteRtEnvironment environment;

static void throws(JNIEnv *jni, const char *message) {
    jclass type = (*jni)->FindClass(jni, "com/google/ai/edge/litert/LiteRtException");
    (*jni)->ThrowNew(jni, type, message);
}

static int failed(JNIEnv *jni, LiteRtStatus status) {
    char message[32];
    snprintf(message, sizeof message, "status %d", status);
    if (status) throws(jni, message);
    return status != 0;
}

static void compile(JNIEnv *jni, Opened *opened, int threads) {
    LiteRtOptions options = NULL;
    LiteRtOpaqueOptions xnnpack = NULL;
    char *payload = malloc(32);
    snprintf(payload, 32, "num_threads = %d\n", threads);
    if (failed(jni, LiteRtCreateOptions(&options))) return;
    if (!failed(jni, LiteRtSetOptionsHardwareAccelerators(options, CPU)) &&
        !failed(jni, LiteRtCreateOpaqueOptions("xnnpack", payload, free, &xnnpack)) &&
        !failed(jni, LiteRtAddOpaqueOptions(options, xnnpack)))
        failed(jni, LiteRtCreateCompiledModel(environment, opened->model, options, &opened->compiled));
    LiteRtDestroyOptions(options);
}

JNIEXPORT jlong NAMED(open)(JNIEnv *jni, jclass type, jstring file, jint threads) {
    (void)type;
    if (!environment && failed(jni, LiteRtCreateEnvironment(0, NULL, &environment))) return 0;
    Opened *opened = calloc(1, sizeof *opened);
    const char *path = (*jni)->GetStringUTFChars(jni, file, NULL);
    if (!failed(jni, LiteRtCreateModelFromFile(environment, path, &opened->model))) compile(jni, opened, threads);
    (*jni)->ReleaseStringUTFChars(jni, file, path);
    return (jlong)opened;
}

JNIEXPORT void NAMED(close)(JNIEnv *jni, jclass type, jlong handle) {
    (void)jni, (void)type;
    Opened *opened = (Opened *)handle;
    LiteRtDestroyCompiledModel(opened->compiled);
    LiteRtDestroyModel(opened->model);
    free(opened);
}

/* The signature of a name, and its place. */
static LiteRtSignature find_signature(JNIEnv *jni, LiteRtModel model, jstring name, LiteRtParamIndex *place) {
    LiteRtParamIndex count = 0;
    LiteRtSignature signature = NULL, found = NULL;
    const char *wanted = (*jni)->GetStringUTFChars(jni, name, NULL), *key = "";
    LiteRtGetNumModelSignatures(model, &count);
    for (LiteRtParamIndex i = 0; i < count && !found; i++)
        if (!LiteRtGetModelSignature(model, i, &signature) && !LiteRtGetSignatureKey(signature, &key) &&
            !strcmp(key, wanted)) {
            *place = i;
            found = signature;
        }
    (*jni)->ReleaseStringUTFChars(jni, name, wanted);
    if (!found) throws(jni, "there is no such signature");
    return found;
}

/* The place of an input or output of a name; -1 after an exception. */
static int find_tensor(JNIEnv *jni, LiteRtSignature signature, jstring name, int input) {
    LiteRtParamIndex count = 0;
    const char *wanted = (*jni)->GetStringUTFChars(jni, name, NULL), *own = "";
    int found = -1;
    (input ? LiteRtGetNumSignatureInputs : LiteRtGetNumSignatureOutputs)(signature, &count);
    for (LiteRtParamIndex i = 0; i < count && i < MOST && found < 0; i++)
        if (!(input ? LiteRtGetSignatureInputName : LiteRtGetSignatureOutputName)(signature, i, &own) &&
            !strcmp(own, wanted))
            found = (int)i;
    (*jni)->ReleaseStringUTFChars(jni, name, wanted);
    if (found < 0) throws(jni, "there is no such input or output");
    return found;
}

JNIEXPORT jlong NAMED(buffer)(JNIEnv *jni, jclass type, jlong handle, jstring signature_name, jstring name,
                              jboolean input) {
    (void)type;
    Opened *opened = (Opened *)handle;
    LiteRtParamIndex place = 0;
    LiteRtTensor tensor = NULL;
    LiteRtRankedTensorType kind;
    LiteRtTensorBufferRequirements needs = NULL;
    LiteRtTensorBuffer buffer = NULL;
    LiteRtSignature signature = find_signature(jni, opened->model, signature_name, &place);
    int index = signature ? find_tensor(jni, signature, name, input) : -1;
    if (index < 0) return 0;
    LiteRtParamIndex at = (LiteRtParamIndex)index;
    if (failed(jni, (input ? LiteRtGetSignatureInputTensorByIndex
                           : LiteRtGetSignatureOutputTensorByIndex)(signature, at, &tensor)) ||
        failed(jni, LiteRtGetRankedTensorType(tensor, &kind)) ||
        failed(jni, (input ? LiteRtGetCompiledModelInputBufferRequirements
                           : LiteRtGetCompiledModelOutputBufferRequirements)(opened->compiled, place, at, &needs)))
        return 0;
    failed(jni, LiteRtCreateManagedTensorBufferFromRequirements(environment, &kind, needs, &buffer));
    return (jlong)buffer;
}

JNIEXPORT void NAMED(closeBuffer)(JNIEnv *jni, jclass type, jlong buffer) {
    (void)jni, (void)type;
    LiteRtDestroyTensorBuffer((LiteRtTensorBuffer)buffer);
}

JNIEXPORT void NAMED(write)(JNIEnv *jni, jclass type, jlong handle, jobject array) {
    (void)type;
    LiteRtTensorBuffer buffer = (LiteRtTensorBuffer)handle;
    size_t size = 0;
    void *memory = NULL;
    int bytes = (*jni)->IsInstanceOf(jni, array, (*jni)->FindClass(jni, "[B"));
    size_t own = (size_t)(*jni)->GetArrayLength(jni, array) * (bytes ? 1 : 4);
    if (failed(jni, LiteRtGetTensorBufferPackedSize(buffer, &size))) return;
    if (own > size) {
        throws(jni, "the array is larger than the tensor");
        return;
    }
    if (failed(jni, LiteRtLockTensorBuffer(buffer, &memory, LOCK_WRITE))) return;
    void *data = (*jni)->GetPrimitiveArrayCritical(jni, array, NULL);
    memcpy(memory, data, own);
    (*jni)->ReleasePrimitiveArrayCritical(jni, array, data, JNI_ABORT);
    failed(jni, LiteRtUnlockTensorBuffer(buffer));
}

JNIEXPORT jfloatArray NAMED(read)(JNIEnv *jni, jclass type, jlong handle) {
    (void)type;
    LiteRtTensorBuffer buffer = (LiteRtTensorBuffer)handle;
    size_t size = 0;
    void *memory = NULL;
    if (failed(jni, LiteRtGetTensorBufferPackedSize(buffer, &size)) ||
        failed(jni, LiteRtLockTensorBuffer(buffer, &memory, LOCK_READ)))
        return NULL;
    jfloatArray floats = (*jni)->NewFloatArray(jni, (jsize)(size / 4));
    (*jni)->SetFloatArrayRegion(jni, floats, 0, (jsize)(size / 4), memory);
    failed(jni, LiteRtUnlockTensorBuffer(buffer));
    return floats;
}

/* Puts buffers into the order of the signature; 0 after an exception. */
static int in_order(JNIEnv *jni, LiteRtSignature signature, jobjectArray names, jlongArray buffers, int input,
                    LiteRtTensorBuffer *ordered) {
    jlong handles[MOST];
    jsize count = (*jni)->GetArrayLength(jni, names);
    (*jni)->GetLongArrayRegion(jni, buffers, 0, count, handles);
    for (jsize i = 0; i < count; i++) {
        int place = find_tensor(jni, signature, (*jni)->GetObjectArrayElement(jni, names, i), input);
        if (place < 0) return 0;
        ordered[place] = (LiteRtTensorBuffer)handles[i];
    }
    return 1;
}

JNIEXPORT void NAMED(run)(JNIEnv *jni, jclass type, jlong handle, jstring name, jobjectArray input_names,
                          jlongArray inputs, jobjectArray output_names, jlongArray outputs) {
    (void)type;
    Opened *opened = (Opened *)handle;
    LiteRtTensorBuffer given[MOST], found[MOST];
    LiteRtParamIndex place = 0;
    LiteRtSignature signature = find_signature(jni, opened->model, name, &place);
    if (signature && in_order(jni, signature, input_names, inputs, 1, given) &&
        in_order(jni, signature, output_names, outputs, 0, found))
        failed(jni, LiteRtRunCompiledModel(opened->compiled, place, (size_t)(*jni)->GetArrayLength(jni, inputs), given,
                                           (size_t)(*jni)->GetArrayLength(jni, outputs), found));
}
