/* onnxruntime's C library for the checks on a JVM, where there is no Maven to bring ai.onnxruntime. */
#include <jni.h>
#include <onnxruntime_c_api.h>
#include <stdlib.h>

#define MOST 8 /* inputs, outputs and axes */

static const OrtApi *api;
static OrtEnv *env;

static int failed(JNIEnv *jni, OrtStatus *status) {
    if (!status) return 0;
    (*jni)->ThrowNew(jni, (*jni)->FindClass(jni, "java/lang/IllegalStateException"), api->GetErrorMessage(status));
    api->ReleaseStatus(status);
    return 1;
}

JNIEXPORT jlong JNICALL Java_samclip_checks_JniGraph_open(JNIEnv *jni, jclass type, jstring file) {
    (void)type;
    OrtSessionOptions *options = NULL;
    OrtSession *session = NULL;
    if (!api) {
        api = OrtGetApiBase()->GetApi(ORT_API_VERSION);
        if (failed(jni, api->CreateEnv(ORT_LOGGING_LEVEL_ERROR, "samclip", &env))) return 0;
    }
    if (failed(jni, api->CreateSessionOptions(&options))) return 0;
    const char *path = (*jni)->GetStringUTFChars(jni, file, NULL);
    if (!failed(jni, api->SetIntraOpNumThreads(options, 1)))
        failed(jni, api->CreateSession(env, path, options, &session));
    (*jni)->ReleaseStringUTFChars(jni, file, path);
    api->ReleaseSessionOptions(options);
    return (jlong)session;
}

JNIEXPORT void JNICALL Java_samclip_checks_JniGraph_close(JNIEnv *jni, jclass type, jlong session) {
    (void)jni, (void)type;
    api->ReleaseSession((OrtSession *)session);
}

/* A tensor with a copy of a Java array: float[], byte[] (uint8) or int[] (int32). */
static OrtValue *to_tensor(JNIEnv *jni, jarray array, jlongArray shape) {
    OrtAllocator *allocator = NULL;
    OrtValue *tensor = NULL;
    void *data = NULL;
    jlong axes[MOST];
    jsize length = (*jni)->GetArrayLength(jni, array), rank = (*jni)->GetArrayLength(jni, shape);
    (*jni)->GetLongArrayRegion(jni, shape, 0, rank, axes);
    int floats = (*jni)->IsInstanceOf(jni, array, (*jni)->FindClass(jni, "[F"));
    int bytes = (*jni)->IsInstanceOf(jni, array, (*jni)->FindClass(jni, "[B"));
    ONNXTensorElementDataType kind = floats  ? ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT
                                     : bytes ? ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8
                                             : ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32;
    if (failed(jni, api->GetAllocatorWithDefaultOptions(&allocator)) ||
        failed(jni, api->CreateTensorAsOrtValue(allocator, (int64_t *)axes, (size_t)rank, kind, &tensor)) ||
        failed(jni, api->GetTensorMutableData(tensor, &data)))
        return tensor;
    if (floats) (*jni)->GetFloatArrayRegion(jni, array, 0, length, data);
    else if (bytes) (*jni)->GetByteArrayRegion(jni, array, 0, length, data);
    else (*jni)->GetIntArrayRegion(jni, array, 0, length, data);
    return tensor;
}

/* A Java array with a copy of a tensor: float[] or byte[]; its shape goes into `shapes`. */
static jarray to_array(JNIEnv *jni, OrtValue *tensor, jobjectArray shapes, jsize place) {
    OrtTensorTypeAndShapeInfo *info = NULL;
    ONNXTensorElementDataType kind;
    size_t rank, length;
    int64_t axes[MOST];
    void *data;
    if (failed(jni, api->GetTensorTypeAndShape(tensor, &info))) return NULL;
    int wrong = failed(jni, api->GetDimensionsCount(info, &rank)) ||
                failed(jni, api->GetDimensions(info, axes, rank)) ||
                failed(jni, api->GetTensorShapeElementCount(info, &length)) ||
                failed(jni, api->GetTensorElementType(info, &kind)) ||
                failed(jni, api->GetTensorMutableData(tensor, &data));
    api->ReleaseTensorTypeAndShapeInfo(info);
    if (wrong) return NULL;
    jlongArray shape = (*jni)->NewLongArray(jni, (jsize)rank);
    (*jni)->SetLongArrayRegion(jni, shape, 0, (jsize)rank, (jlong *)axes);
    (*jni)->SetObjectArrayElement(jni, shapes, place, shape);
    if (kind == ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8) {
        jbyteArray bytes = (*jni)->NewByteArray(jni, (jsize)length);
        (*jni)->SetByteArrayRegion(jni, bytes, 0, (jsize)length, data);
        return bytes;
    }
    jfloatArray floats = (*jni)->NewFloatArray(jni, (jsize)length);
    (*jni)->SetFloatArrayRegion(jni, floats, 0, (jsize)length, data);
    return floats;
}

JNIEXPORT jobjectArray JNICALL Java_samclip_checks_JniGraph_run(JNIEnv *jni, jclass type, jlong session,
                                                                 jobjectArray names, jobjectArray arrays,
                                                                 jobjectArray shapes, jobjectArray outputs,
                                                                 jobjectArray output_shapes) {
    (void)type;
    jsize inputs = (*jni)->GetArrayLength(jni, names), answers = (*jni)->GetArrayLength(jni, outputs);
    const char *input_names[MOST], *output_names[MOST];
    OrtValue *given[MOST] = {0}, *found[MOST] = {0};
    for (jsize i = 0; i < inputs; i++) {
        input_names[i] = (*jni)->GetStringUTFChars(jni, (*jni)->GetObjectArrayElement(jni, names, i), NULL);
        given[i] = to_tensor(jni, (*jni)->GetObjectArrayElement(jni, arrays, i),
                             (*jni)->GetObjectArrayElement(jni, shapes, i));
    }
    for (jsize i = 0; i < answers; i++)
        output_names[i] = (*jni)->GetStringUTFChars(jni, (*jni)->GetObjectArrayElement(jni, outputs, i), NULL);
    jobjectArray result = NULL;
    if (!(*jni)->ExceptionCheck(jni) &&
        !failed(jni, api->Run((OrtSession *)session, NULL, input_names, (const OrtValue *const *)given, (size_t)inputs,
                              output_names, (size_t)answers, found))) {
        result = (*jni)->NewObjectArray(jni, answers, (*jni)->FindClass(jni, "java/lang/Object"), NULL);
        for (jsize i = 0; i < answers; i++)
            (*jni)->SetObjectArrayElement(jni, result, i, to_array(jni, found[i], output_shapes, i));
    }
    for (jsize i = 0; i < inputs; i++) {
        (*jni)->ReleaseStringUTFChars(jni, (*jni)->GetObjectArrayElement(jni, names, i), input_names[i]);
        api->ReleaseValue(given[i]);
    }
    for (jsize i = 0; i < answers; i++) {
        (*jni)->ReleaseStringUTFChars(jni, (*jni)->GetObjectArrayElement(jni, outputs, i), output_names[i]);
        api->ReleaseValue(found[i]);
    }
    return result;
}
