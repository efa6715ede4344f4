/* Masks of labels in an image: letterbox@S, image_encoder@S, text_to_mask@S, on onnxruntime's C API.
 *
 *     text_to_mask BUNDLE IMAGE.ppm LABELS.safetensors OUTPUT [THRESHOLD | --allow-unknown]
 *
 * writes OUTPUT-0.pgm, OUTPUT-1.pgm ...: 255 where the label is, in the image's size. A label that the model does not
 * know is drawn only with a THRESHOLD, the presence from which all labels are there, or with --allow-unknown. The
 * graphs are taken from where every export puts them. It does not check the sha256 of files: an app that fetches a
 * bundle should. */
#include <inttypes.h>
#include <math.h>
#include <onnxruntime_c_api.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct { const char *name; OrtValue *value; } Tensor;

/* A label of a pack: the presence from which it is in an image; what to tell of how the model reads it, or NULL. */
typedef struct { char *name, *told; int unknown; float threshold; } Label;

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

/* Passes the next sign but for space, if it is this one. */
static int passes(const char **at, char sign) {
    *at += strspn(*at, " \t\r\n");
    if (**at != sign) return 0;
    ++*at;
    return 1;
}

/* Passes a null of JSON, if it is next. */
static int passes_null(const char **at) {
    *at += strspn(*at, " \t\r\n");
    if (strncmp(*at, "null", 4)) return 0;
    *at += 4;
    return 1;
}

/* Passes a number, if one is next. */
static int passes_number(const char **at, double *number) {
    *at += strspn(*at, " \t\r\n");
    char *end;
    *number = strtod(*at, &end);
    if (end == *at || *at + strspn(*at, "+-.0123456789eE") < end) return 0; /* no nan, no hexadecimal one */
    *at = end;
    return 1;
}

/* Passes the four digits of a \u of JSON, if they are next, else -1. */
static long passes_digits(const char **at) {
    char digits[5] = {0};
    if (strspn(*at, "0123456789abcdefABCDEF") < 4) return -1;
    memcpy(digits, *at, 4);
    *at += 4;
    return strtol(digits, NULL, 16);
}

/* Passes a text of JSON and returns it in UTF-8, in memory of its own; NULL if none is next, or a wrong one. */
static char *passes_text(const char **at) {
    if (!passes(at, '"')) return NULL;
    char *text = malloc(strlen(*at) + 1), *end = text; /* no escape is shorter than what it stands for */
    if (!text) fail("the memory is full\n");
    for (; **at != '"'; ) {
        if (!(unsigned char)**at || (unsigned char)**at < ' ') return NULL;
        if (**at != '\\') {
            *end++ = *(*at)++;
            continue;
        }
        ++*at;
        const char *plain = "\"\\/bfnrt", *found = **at ? strchr(plain, **at) : NULL;
        long code = 0;
        if (found) code = "\"\\/\b\f\n\r\t"[found - plain], ++*at;
        else if (*(*at)++ != 'u' || (code = passes_digits(at)) < 1) return NULL;
        if (code >> 10 == 0xDC >> 2) return NULL; /* the second half of a pair */
        if (code >> 10 == 0xD8 >> 2) { /* the first half */
            if (strncmp(*at, "\\u", 2)) return NULL;
            *at += 2;
            long second = passes_digits(at);
            if (second >> 10 != 0xDC >> 2) return NULL;
            code = 0x10000 + ((code & 0x3FF) << 10) + (second & 0x3FF);
        }
        int more = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3; /* bytes behind the first */
        *end++ = (char)(more ? (0xF00 >> (more + 1) & 0xFF) | code >> 6 * more : code);
        while (more--) *end++ = (char)(0x80 | (code >> 6 * more & 0x3F));
    }
    *end = 0;
    ++*at;
    return text;
}

/* Passes a list of one text or more and returns them with commas between them; NULL if no such list is next. */
static char *passes_texts(const char **at) {
    char *all = calloc(strlen(*at) + 1, 1), *text; /* ", " is no longer than the quotes and the comma */
    if (!all) fail("the memory is full\n");
    if (!passes(at, '[')) return NULL;
    do {
        if (!(text = passes_text(at))) return NULL;
        sprintf(all + strlen(all), "%s%s", *all ? ", " : "", text);
        free(text);
    } while (passes(at, ','));
    return passes(at, ']') ? all : NULL;
}

/* Passes what a pack tells of how a label is read, or null; 0 if it is neither. */
static int passes_reading(const char **at, Label *label) {
    if (passes_null(at)) return 1;
    char *kind = NULL, *words = NULL, *key;
    double cosine = 0;
    int has_cosine = 0;
    if (!passes(at, '{')) return 0;
    do {
        if (!(key = passes_text(at)) || !passes(at, ':')) return 0;
        if (!strcmp(key, "kind")) {
            if (!(kind = passes_text(at))) return 0;
        } else if (!strcmp(key, "words")) {
            if (!(words = passes_texts(at))) return 0;
        } else if (strcmp(key, "cosine")) {
            return 0;
        } else if (!passes_null(at)) {
            if (!passes_number(at, &cosine) || fabs(cosine) > 1.01) return 0;
            has_cosine = 1;
        }
        free(key);
    } while (passes(at, ','));
    if (!passes(at, '}') || !kind || !words) return 0;
    label->unknown = !strcmp(kind, "unknown");
    if (label->unknown != has_cosine || (!label->unknown && strcmp(kind, "read_as"))) return 0;
    size_t room = strlen(words) + 64;
    label->told = malloc(room);
    if (!label->told) fail("the memory is full\n");
    if (label->unknown) snprintf(label->told, room, "not known, nearest %s %.2f", words, cosine);
    else snprintf(label->told, room, "read as %s", words);
    free(kind);
    free(words);
    return 1;
}

static int passes_name(const char **at, Label *label) {
    return (label->name = passes_text(at)) != NULL;
}

static int passes_threshold(const char **at, Label *label) {
    if (passes_null(at)) return 1;
    double threshold;
    if (!passes_number(at, &threshold) || threshold < 0 || threshold > 1) return 0;
    label->threshold = (float)threshold;
    return 1;
}

/* Reads a list for the labels, with one entry for each, that the metadata of a pack hold as a text of JSON. */
static void read_entries(const char *json, const char *key, const char *path, Label *labels, int64_t count,
                         int (*passes_entry)(const char **, Label *), const char *what) {
    const char *stored = field(json, key, path);
    char *list = passes_text(&stored);
    const char *at = list;
    int right = list && passes(&at, '[');
    for (int64_t i = 0; right && i < count; i++) right = (!i || passes(&at, ',')) && passes_entry(&at, labels + i);
    if (!right || !passes(&at, ']') || at[strspn(at, " \t\r\n")])
        fail("%s must have %s for each of %" PRId64 " labels\n", path, what, count);
    free(list);
}

/* The embeddings of a label pack, float32 [*count,*width] of unit length, and its labels, whose thresholds are their
 * own, or the usual one. */
static float *read_pack(const char *path, int64_t *count, int64_t *width, float usual, Label **labels) {
    size_t size, begin;
    char *content = read_file(path, &size);
    uint64_t header = 0; /* its length is little-endian, as this machine must be */
    if (size > 8) memcpy(&header, content, 8);
    if (size <= 8 || header > size - 8) fail("%s is not a safetensors file\n", path);
    char *data = content + 8 + header, first = *data;
    *data = 0; /* the JSON text ends here, while it is searched */
    const char *stored = field(content + 8, "schema_version", path);
    char *version = passes_text(&stored);
    if (!version || strcmp(version, "2"))
        fail("%s has schema_version %s; this program knows 2: save it again with the model\n", path,
             version ? version : "that is no text");
    free(version);
    const char *entry = field(content + 8, "embeddings", path);
    size_t bytes = strncmp(field(entry, "dtype", path), "\"I8\"", 4) ? sizeof(float) : 1;
    if (sscanf(field(entry, "shape", path), "[%" SCNd64 ", %" SCNd64 "]", count, width) != 2 ||
        sscanf(field(entry, "data_offsets", path), "[%zu", &begin) != 1 || *count < 1 || *count > 1 << 20 ||
        *width < 1 || *width > 1 << 12 || begin + (size_t)(*count * *width) * bytes > size - 8 - header)
        fail("%s holds no embeddings [labels,width]\n", path);
    int64_t numbers = *count * *width;
    float *rows = malloc((size_t)numbers * sizeof(float));
    *labels = calloc((size_t)*count, sizeof(Label));
    if (!rows || !*labels) fail("%s is too large for the memory\n", path);
    for (int64_t i = 0; i < *count; i++) (*labels)[i].threshold = usual;
    read_entries(content + 8, "labels", path, *labels, *count, passes_name, "a text");
    if (strstr(content + 8, "\"thresholds\""))
        read_entries(content + 8, "thresholds", path, *labels, *count, passes_threshold,
                     "a threshold from 0 to 1, or null,");
    if (strstr(content + 8, "\"read_as\""))
        read_entries(content + 8, "read_as", path, *labels, *count, passes_reading, "what it is read as, or null,");
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

/* A logit of the model's frame at a pixel of the image: bilinear, half-pixel centres, edges repeated. */
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
    float asked_threshold = -1;
    int allow_unknown = count == 6 && !strcmp(arguments[5], "--allow-unknown");
    if (count == 6 && !allow_unknown) {
        char *end;
        asked_threshold = strtof(arguments[5], &end);
        if (end == arguments[5] || *end || !(asked_threshold >= 0 && asked_threshold <= 1)) count = 0;
    }
    if (count != 5 && count != 6)
        fail("usage: %s BUNDLE IMAGE.ppm LABELS.safetensors OUTPUT [THRESHOLD from 0 to 1 | --allow-unknown]\n",
             arguments[0]);
    const char *bundle = arguments[1];
    char path[4096];
    snprintf(path, sizeof path, "%s/manifest.json", bundle);
    size_t size;
    int64_t width, height, asked, dim;
    Label *labels;
    char *manifest = read_file(path, &size);
    long version = strtol(field(manifest, "schema_version", path), NULL, 10);
    if (version != 1) fail("%s has schema_version %ld; this program knows 1\n", path, version);
    int side = atoi(field(field(field(manifest, "tasks", path), "segmentation", path), "resolution", path));
    /* A convolutional model need not compute the padding. */
    const char *encoder = field(field(manifest, "model", path), "image_encoder", path);
    int padded = strncmp(field(encoder, "kind", path), "\"pyramid\"", 9);
    float presence_threshold = strtof(field(manifest, "presence_threshold", path), NULL);
    float mask_threshold = strtof(field(manifest, "mask_threshold", path), NULL);
    char *rgb_image = read_file(arguments[2], &size);
    int head = 0;
    if (sscanf(rgb_image, "P6 %" SCNd64 " %" SCNd64 " 255%*1[ \n]%n", &width, &height, &head) != 2 || !head ||
        width < 1 || height < 1 || width > 1 << 15 || height > 1 << 15 ||
        size - (size_t)head < (size_t)(3 * width * height))
        fail("%s is not a binary PPM image (P6, 255, without comments)\n", arguments[2]);
    float *embeddings = read_pack(arguments[3], &asked, &dim, presence_threshold, &labels);

    api = OrtGetApiBase()->GetApi(ORT_API_VERSION);
    if (!api) fail("the onnxruntime here is older than %d\n", ORT_API_VERSION);
    check(api->CreateEnv(ORT_LOGGING_LEVEL_WARNING, "samclip", &env));
    check(api->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory));
    int64_t pixels[] = {height, width, 3}, rows[] = {asked, dim};
    Tensor given = tensor("picture", rgb_image + head, pixels, 3, ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8);
    Tensor boxed[] = {{"image", NULL}, {"extent", NULL}};
    run(bundle, "letterbox", side, &given, 1, boxed, 2);
    Tensor encoded[] = {{"image_tokens", NULL}, {"image_embeddings", NULL}};
    Tensor seen = padded ? boxed[0] : without_padding(boxed[0], side, floats(boxed[1]));
    run(bundle, "image_encoder", side, &seen, 1, encoded, 2); /* once an image */
    Tensor texts = tensor("text_embeddings", embeddings, rows, 2, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT);
    Tensor question[] = {encoded[0], encoded[1], boxed[1], texts};
    Tensor answer[] = {{"mask_logits", NULL}, {"presence", NULL}};
    run(bundle, "text_to_mask", side, question, 4, answer, 2); /* once a question */

    for (int64_t i = 0; i < asked; i++) {
        const Label *label = labels + i;
        float presence = floats(answer[1])[i], least = asked_threshold >= 0 ? asked_threshold : label->threshold;
        int may_be = !label->unknown || allow_unknown || asked_threshold >= 0;
        const float *logits = may_be && presence >= least ? floats(answer[0]) + i * side * side : NULL;
        snprintf(path, sizeof path, "%s-%" PRId64 ".pgm", arguments[4], i);
        write_mask(path, width, height, logits, side, floats(boxed[1]), mask_threshold);
        printf("%s: %s: presence %.4f%s%s%s\n", path, label->name, presence, logits ? "" : ", absent",
               label->told ? ", " : "", label->told ? label->told : "");
    }
    return 0;
}
