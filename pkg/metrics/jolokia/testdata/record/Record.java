import java.io.ByteArrayInputStream;
import java.lang.management.ManagementFactory;
import java.util.Collections;
import java.util.Map;
import javax.management.ObjectName;
import javax.management.openmbean.CompositeData;
import javax.management.openmbean.CompositeDataSupport;
import javax.management.openmbean.CompositeType;
import javax.management.openmbean.OpenType;
import javax.management.openmbean.SimpleType;
import org.jolokia.backend.BackendManager;
import org.jolokia.config.ConfigKey;
import org.jolokia.config.Configuration;
import org.jolokia.http.HttpRequestHandler;
import org.jolokia.util.LogHandler;

/**
 * Answers the bulk request on its standard input as an agent of Jolokia does, of a
 * JVM with two beans of an app in it. See ../../README.md.
 */
public class Record {
  public interface OrdersMBean {
    int getOpen();
    long getTotal();
    double getRatio();
    boolean isAccepting();
    String getState();
    Integer getNothing();
    int getBroken() throws Exception;
    CompositeData getLast() throws Exception;
  }

  public static class Orders implements OrdersMBean {
    public int getOpen() { return 7; }
    public long getTotal() { return 9007199254740993L; }
    public double getRatio() { return Double.NaN; }
    public boolean isAccepting() { return true; }
    public String getState() { return "RUNNING"; }
    public Integer getNothing() { return null; }
    public int getBroken() throws Exception { throw new IllegalStateException("this attribute can't be read"); }
    public CompositeData getLast() throws Exception {
      String[] names = {"amount", "customer"};
      OpenType<?>[] types = {SimpleType.DOUBLE, SimpleType.STRING};
      return new CompositeDataSupport(new CompositeType("last", "the last order", names, names, types), names, new Object[] {12.5, "somebody"});
    }
  }

  public interface ThreadPoolMBean {
    int getcurrentThreadsBusy();
    int getmaxThreads();
    boolean getrunning();
    String getname();
  }

  public static class ThreadPool implements ThreadPoolMBean {
    public int getcurrentThreadsBusy() { return 3; }
    public int getmaxThreads() { return 200; }
    public boolean getrunning() { return true; }
    public String getname() { return "http-nio-8080"; }
  }

  public static void main(String[] args) throws Exception {
    var server = ManagementFactory.getPlatformMBeanServer();
    if (args.length == 0) { // any argument: a JVM without the app's beans
      server.registerMBean(new Orders(), new ObjectName("shop:type=Orders"));
      for (String name : new String[] {"\"http-nio-8080\"", "\"https-jsse,nio=8443\""}) {
        server.registerMBean(new ThreadPool(), new ObjectName("Catalina:type=ThreadPool,name=" + name));
      }
    }
    LogHandler quiet = new LogHandler() {
      public void debug(String message) {}
      public void info(String message) {}
      public void error(String message, Throwable t) {}
    };
    Configuration config = new Configuration(ConfigKey.AGENT_ID, "test");
    BackendManager backend = new BackendManager(config, quiet);
    byte[] request = System.in.readAllBytes();
    Map<String, String[]> none = Collections.emptyMap();
    System.out.println(new HttpRequestHandler(config, backend, quiet).handlePostRequest("/jolokia", new ByteArrayInputStream(request), "UTF-8", none).toJSONString());
    backend.destroy();
  }
}
