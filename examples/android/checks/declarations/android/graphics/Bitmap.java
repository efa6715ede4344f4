package android.graphics;

/** What this project calls of Android's class, written by hand: there is no android.jar here. */
public abstract class Bitmap {
    public enum Config { ALPHA_8, RGB_565, ARGB_4444, ARGB_8888, RGBA_F16, HARDWARE, RGBA_1010102 }

    public static native Bitmap createBitmap(int width, int height, Config config);
    public abstract int getWidth();
    public abstract int getHeight();
    public abstract Config getConfig();
    public abstract Bitmap copy(Config config, boolean isMutable);
    public abstract void getPixels(int[] pixels, int offset, int stride, int x, int y, int width, int height);
    public abstract void setPixels(int[] pixels, int offset, int stride, int x, int y, int width, int height);
}
