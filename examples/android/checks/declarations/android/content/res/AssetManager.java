package android.content.res;

/** What this project calls of Android's class, written by hand: there is no android.jar here. */
public abstract class AssetManager {
    public abstract java.io.InputStream open(String fileName) throws java.io.IOException;
    public abstract String[] list(String path) throws java.io.IOException;
}
