/* Masks of labels in a picture: letterbox@S, image_encoder@S, text_to_mask@S, on onnxruntime's C API.
 *
 *     text_to_mask BUNDLE PICTURE.ppm LABELS.safetensors OUTPUT
 *
 * writes OUTPUT-0.pgm, OUTPUT-1.pgm ...: 255 where the label is, in the picture's size. The graphs are taken from
 * where every export puts them. It does not check the sha256 of files: an app that fetches a bundle should. */
#include <inttypes.h>
#include <math.h>
#include <onnxruntime_c_api.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct { const char *name; OrtValue *value; } Tensor;

static const OrtApi *api;
static OrtEnv *env;
static OrtMemoryInfo *memory;

static _Noreturn void fail(const char *format, ...) {
    va_list values;
    va_start(values, format);
    vfprintf(stderr, format, values);
    exit(1);
}

static void check(OrtStatus *status) {
    if (status) fail("onnxruntime: %s\n", api->GetErrorMessage(status));
}

/* The whole content of a file, with a zero behind it. */
static char *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END)) fail("cannot read %s\n", path);
    *size = (size_t)ftell(file);
    rewind(file);
    char *content = calloc(*size + 1, 1);
    if (!content || fread(content, 1, *size, file) != *size) fail("cannot read %s\n", path);
    fclose(file);
    return content;
}

/* What follows the next "key": in the JSON text of a file. */
static const char *field(const char *json, const char *key, const char *file) {
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"%s\"", key);
    const char *found = strstr(json, quoted);
    if (!found) fail("%s has no \"%s\"\n", file, key);
    found += strlen(quoted);
    return found + strspn(found, ": \n");
}

/* A tensor over numbers that stay where they are. */
static Tensor tensor(const char *name, void *data, const int64_t *shape, size_t rank, ONNXTensorElementDataType kind) {
    Tensor made = {name, NULL};
    size_t size = kind == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT ? sizeof(float) : 1;
    for (size_t i = 0; i < rank; i++) size *= (size_t)shape[i];
    check(api->CreateTensorWithDataAsOrtValue(memory, data, size, shape, rank, kind, &made.value));
    return made;
}

static float *floats(Tensor tensor) {
    void *data;
    check(api->GetTensorMutableData(tensor.value, &data));
    return data;
}

/* The model's input uint8 [1,3,side,side] without its padding, in whole steps of 32 pixels, in the same memory. */
static Tensor without_padding(Tensor image, int side, const float *extent) {
    int64_t rows = 32 * (int64_t)ceil(extent[0] / 32), columns = 32 * (int64_t)ceil(extent[1] / 32);
    void *data;
    check(api->GetTensorMutableData(image.value, &data));
    uint8_t *pixels = data;
    for (int64_t line = 0; line < 3 * rows; line++)
        memmove(pixels + line * columns, pixels + (line / rows * side + line % rows) * side, (size_t)columns);
    return tensor(image.name, data, (int64_t[]){1, 3, rows, columns}, 4, ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8);
}

/* Runs a graph of the bundle for inputs of `side` pixels; its weights lie beside it. */
static void run(const char *bundle, const char *graph, int side, const Tensor *inputs, size_t given, Tensor *outputs,
                size_t wanted) {
    const char *input_names[4], *output_names[2];
    const OrtValue *values[4];
    OrtValue *found[2] = {0};
    OrtSessionOptions *options;
    OrtSession *session;
    char path[4096];
    snprintf(path, sizeof path, "%s/onnx/%s_%d.onnx", bundle, graph, side);
    check(api->CreateSessionOptions(&options));
    check(api->CreateSession(env, path, options, &session));
    for (size_t i = 0; i < given; i++) input_names[i] = inputs[i].name, values[i] = inputs[i].value;
    for (size_t i = 0; i < wanted; i++) output_names[i] = outputs[i].name;
    check(api->Run(session, NULL, input_names, values, given, output_names, wanted, found));
    for (size_t i = 0; i < wanted; i++) outputs[i].value = found[i];
    api->ReleaseSession(session);
    api->ReleaseSessionOptions(options);
}

/* Takes the thresholds of the labels that have their own: "[0.5, null, ...]" in the JSON text of a pack. */
static void read_thresholds(const char *json, const char *path, float *thresholds, int64_t count) {
    if (!strstr(json, "\"thresholds\"")) return;
    const char *at = field(json, "thresholds", path) + 1;
    for (int64_t i = 0; i < count && *at == (i ? ',' : '['); i++) {
        at += 1 + strspn(at + 1, " ");
        char *end = (char *)at + 4;
        if (strncmp(at, "null", 4)) thresholds[i] = strtof(at, &end);
        if (end == at || !(thresholds[i] >= 0 && thresholds[i] <= 1)) break;
        at = end + strspn(end, " ");
        if (i == count - 1 && *at == ']') return;
    }
    fail("%s must have a threshold from 0 to 1, or null, for each of %" PRId64 " labels\n", path, count);
}

/* The embeddings of a label pack, float32 [*count,*width] of unit length, and the presence from which each label is in
 * a picture: its own threshold, or the usual one. */
static float *read_pack(const char *path, int64_t *count, int64_t *width, float usual, float **thresholds) {
    size_t size, begin;
    char *content = read_file(path, &size);
    uint64_t header = 0; /* its length is little-endian, as this machine must be */
    if (size > 8) memcpy(&header, content, 8);
    if (size <= 8 || header > size - 8) fail("%s is not a safetensors file\n", path);
    char *data = content + 8 + header, first = *data;
    *data = 0; /* the JSON text ends here, while it is searched */
    const char *entry = field(content + 8, "embeddings", path);
    size_t bytes = strncmp(field(entry, "dtype", path), "\"I8\"", 4) ? sizeof(float) : 1;
    if (sscanf(field(entry, "shape", path), "[%" SCNd64 ", %" SCNd64 "]", count, width) != 2 ||
        sscanf(field(entry, "data_offsets", path), "[%zu", &begin) != 1 || *count < 1 || *count > 1 << 20 ||
        *width < 1 || *width > 1 << 12 || begin + (size_t)(*count * *width) * bytes > size - 8 - header)
        fail("%s holds no embeddings [labels,width]\n", path);
    int64_t numbers = *count * *width;
    float *rows = malloc((size_t)numbers * sizeof(float));
    *thresholds = malloc((size_t)*count * sizeof(float));
    if (!rows || !*thresholds) fail("%s is too large for the memory\n", path);
    for (int64_t i = 0; i < *count; i++) (*thresholds)[i] = usual;
    read_thresholds(content + 8, path, *thresholds, *count);
    *data = first;
    if (bytes > 1) memcpy(rows, data + begin, (size_t)numbers * sizeof(float));
    else
        for (int64_t i = 0; i < numbers; i++) rows[i] = (float)(signed char)data[begin + (size_t)i];
    for (float *row = rows; row < rows + numbers; row += *width) {
        double square = 0;
        for (int64_t i = 0; i < *width; i++) square += row[i] * row[i];
        for (int64_t i = 0; i < *width; i++) row[i] = (float)(row[i] / fmax(sqrt(square), 1e-6));
    }
    free(content);
    return rows;
}

/* A logit of the model's frame at a pixel of the picture: bilinear, half-pixel centres, edges repeated. */
static float at(const float *logits, int side, double y, double x, double rows, double columns) {
    y = fmin(fmax(y, 0), rows - 1), x = fmin(fmax(x, 0), columns - 1);
    int top = (int)y, left = (int)x, below = (int)fmin(top + 1, rows - 1), right = (int)fmin(left + 1, columns - 1);
    const float *above = logits + top * side, *under = logits + below * side;
    double first = above[left] + (above[right] - above[left]) * (x - left);
    double second = under[left] + (under[right] - under[left]) * (x - left);
    return (float)(first + (second - first) * (y - top));
}

/* Writes where a label is; nowhere if it is absent. */
static void write_mask(const char *path, int64_t width, int64_t height, const float *logits, int side,
                       const float *extent, float threshold) {
    FILE *file = fopen(path, "wb");
    if (!file) fail("cannot write %s\n", path);
    fprintf(file, "P5\n%" PRId64 " %" PRId64 "\n255\n", width, height);
    for (int64_t i = 0; i < width * height; i++) {
        double y = ((double)(i / width) + 0.5) * extent[0] / (double)height - 0.5;
        double x = ((double)(i % width) + 0.5) * extent[1] / (double)width - 0.5;
        fputc(logits && at(logits, side, y, x, extent[0], extent[1]) > threshold ? 255 : 0, file);
    }
    if (fclose(file)) fail("cannot write %s\n", path);
}

int main(int count, char **arguments) {
    if (count != 5) fail("usage: %s BUNDLE PICTURE.ppm LABELS.safetensors OUTPUT\n", arguments[0]);
    const char *bundle = arguments[1];
    char path[4096];
    snprintf(path, sizeof path, "%s/manifest.json", bundle);
    size_t size;
    int64_t width, height, labels, dim;
    char *manifest = read_file(path, &size);
    long version = strtol(field(manifest, "schema_version", path), NULL, 10);
    if (version != 1) fail("%s has schema_version %ld; this program knows 1\n", path, version);
    int side = atoi(field(field(field(manifest, "tasks", path), "segmentation", path), "resolution", path));
    /* A convolutional model need not compute the padding. */
    const char *encoder = field(field(manifest, "model", path), "image_encoder", path);
    int padded = strncmp(field(encoder, "kind", path), "\"pyramid\"", 9);
    float presence_threshold = strtof(field(manifest, "presence_threshold", path), NULL);
    float mask_threshold = strtof(field(manifest, "mask_threshold", path), NULL);
    char *picture = read_file(arguments[2], &size);
    int head = 0;
    if (sscanf(picture, "P6 %" SCNd64 " %" SCNd64 " 255%*1[ \n]%n", &width, &height, &head) != 2 || !head ||
        width < 1 || height < 1 || width > 1 << 15 || height > 1 << 15 ||
        size - (size_t)head < (size_t)(3 * width * height))
        fail("%s is not a binary PPM picture (P6, 255, without comments)\n", arguments[2]);
    float *thresholds, *embeddings = read_pack(arguments[3], &labels, &dim, presence_threshold, &thresholds);

    api = OrtGetApiBase()->GetApi(ORT_API_VERSION);
    if (!api) fail("the onnxruntime here is older than %d\n", ORT_API_VERSION);
    check(api->CreateEnv(ORT_LOGGING_LEVEL_WARNING, "samclip", &env));
    check(api->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory));
    int64_t pixels[] = {height, width, 3}, rows[] = {labels, dim};
    Tensor given = tensor("picture", picture + head, pixels, 3, ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8);
    Tensor boxed[] = {{"image", NULL}, {"extent", NULL}};
    run(bundle, "letterbox", side, &given, 1, boxed, 2);
    Tensor encoded[] = {{"image_tokens", NULL}, {"image_embeddings", NULL}};
    Tensor seen = padded ? boxed[0] : without_padding(boxed[0], side, floats(boxed[1]));
    run(bundle, "image_encoder", side, &seen, 1, encoded, 2); /* once a picture */
    Tensor texts = tensor("text_embeddings", embeddings, rows, 2, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT);
    Tensor asked[] = {encoded[0], encoded[1], boxed[1], texts};
    Tensor answer[] = {{"mask_logits", NULL}, {"presence", NULL}};
    run(bundle, "text_to_mask", side, asked, 4, answer, 2); /* once a question */

    for (int64_t label = 0; label < labels; label++) {
        float presence = floats(answer[1])[label];
        const float *logits = presence >= thresholds[label] ? floats(answer[0]) + label * side * side : NULL;
        snprintf(path, sizeof path, "%s-%" PRId64 ".pgm", arguments[4], label);
        write_mask(path, width, height, logits, side, floats(boxed[1]), mask_threshold);
        printf("%s: presence %.4f%s\n", path, presence, logits ? "" : ", absent");
    }
    return 0;
}
